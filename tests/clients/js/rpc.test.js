// supabase-js: functions, by POST, GET and HEAD, shaped like tables.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { data, ids, refused, reset, rest, service, visitor } from './support.js'

const QUICK = { q: 'quick' }
const PERIOD = { since: '2025-12-01', until: '2025-12-31' }

test('search finds posts', async () => {
    const found = await data(visitor.rpc('search', QUICK))
    assert.deepEqual(found.map((post) => post.id).sort(), [1, 2])
    assert.equal(typeof found[0].title, 'string')
})

test('search is shaped like a table', async () => {
    const query = visitor
        .rpc('search', QUICK)
        .select('id, author(username), tags(name)')
        .order('id', { ascending: false })
    assert.deepEqual(await data(query.limit(1)), [{ id: 2, author: { username: 'ada' }, tags: [{ name: 'sql' }] }])
    assert.deepEqual(await ids(visitor.rpc('search', QUICK).select('id').eq('id', 1)), [1])
    assert.deepEqual(await ids(rest.rpc('search', QUICK).select('id').order('id').range(1, 1)), [2])
})

test('search by GET and HEAD', async () => {
    const found = await visitor
        .rpc('search', { q: '"brown fox"', limit: undefined }, { get: true, count: 'exact' })
        .select('id')
    assert.deepEqual([found.error, found.data, found.count], [null, [{ id: 1 }], 1])
    const counted = await visitor.rpc('search', QUICK, { head: true, count: 'exact' })
    assert.deepEqual([counted.error, counted.data, counted.count], [null, null, 2])
})

test('search as one object and as csv', async () => {
    assert.deepEqual(await data(visitor.rpc('search', { q: 'fox' }).select('title').single()), {
        title: 'Hello, World',
    })
    assert.equal(await data(visitor.rpc('search', { q: 'unheard' }).select('title').maybeSingle()), null)
    await refused(visitor.rpc('search', QUICK).single(), 'PGRST116')
    const table = visitor.rpc('search', QUICK).select('id,title').order('id')
    assert.equal(await data(table.csv()), 'id,title\n1,"Hello, World"\n2,"SQL joins"')
    assert.deepEqual(await data(service.rpc('search', { q: 'fox' }).select('id,deleted_at').stripNulls()), [{ id: 1 }])
})

test('dashboard', async () => {
    const posted = await data(visitor.rpc('dashboard', PERIOD))
    assert.deepEqual(posted.totals, { posts: 4, authors: 2, tags: 3 })
    assert.deepEqual(posted.top_authors, [
        { username: 'ada', posts: 3 },
        { username: 'bob', posts: 1 },
    ])
    assert.deepEqual(
        posted.posts_per_day.filter((day) => day.posts > 0).map((day) => day.day),
        ['2025-12-01', '2025-12-02', '2025-12-03', '2025-12-05'],
    )
    assert.deepEqual(await data(visitor.rpc('dashboard', PERIOD, { get: true })), posted)
    assert.notDeepEqual(await data(visitor.rpc('dashboard')), posted)
})

test('transfer', async () => {
    await reset()
    const sent = { from_user_id: 1, to_user_id: 2, amount: 95, note: 'Thanks' }
    const row = await data(service.rpc('transfer', sent))
    assert.deepEqual(row, { id: 4, ...sent, created_at: '2026-01-01T12:00:00+00:00', created_by: null })
    const shaped = service.rpc('transfer', sent).select('amount, receiver(username, balance)').single()
    assert.deepEqual(await data(shaped), { amount: 95, receiver: { username: 'bob', balance: 193 } })
    assert.equal(await data(service.rpc('balance_of', { user_id: 1 }, { get: true })), 305)
    await refused(service.rpc('transfer', { ...sent, amount: 306 }), 'BRD605')
    await refused(visitor.rpc('transfer', sent), '42501')
    await reset()
})

const REFUSED = [
    ['nothing', {}, 'PGRST202'],
    ['search', {}, 'PGRST202'],
    ['search', { q: 'x', colour: 'red' }, 'PGRST202'],
    ['dashboard', { since: "yesterday's" }, '22007'],
]

for (const [name, args, code] of REFUSED) {
    test(`${name}(${JSON.stringify(args)}) is refused with ${code}`, async () => {
        await refused(visitor.rpc(name, args), code)
        await refused(visitor.rpc(name, args, { get: true }), code)
    })
}

test('maxAffected needs a function that returns rows', async () => {
    await refused(visitor.rpc('dashboard', PERIOD).maxAffected(1), 'PGRST128')
})

test('a HEAD with an object among the arguments is sent as a POST', async () => {
    const answer = await visitor.rpc('search', { q: { quick: 'fox' } }, { head: true, count: 'exact' })
    assert.deepEqual([answer.error, answer.data, answer.count], [null, null, 1]) // the object's JSON is the text
})
