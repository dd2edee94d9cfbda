// supabase-js: insert, upsert, update and delete, by their answers and by what stands in the tables after.

import assert from 'node:assert/strict'
import { after, beforeEach, test } from 'node:test'
import { data, ids, refused, reset, service, visitor } from './support.js'

beforeEach(reset)
after(reset)

const rows = (table, columns = 'id') => data(service.from(table).select(columns).order('id'))

// ---- insert --------------------------------------------------------------------------------------------------------

test('insert of one row answers nothing', async () => {
    const done = await service.from('tags').insert({ name: 'new' })
    assert.deepEqual([done.data, done.error, done.status], [null, null, 201])
    assert.deepEqual(await data(service.from('tags').select('id, name').eq('name', 'new')), [{ id: 5, name: 'new' }])
})

test('insert of rows with different keys', async () => {
    const posts = [
        { user_id: 1, title: 'One', content: 'a' },
        { user_id: 2, title: 'Two', slug: 'second' },
    ]
    const done = await service
        .from('posts')
        .insert(posts, { count: 'exact', defaultToNull: false })
        .select('id, slug, content')
    assert.deepEqual(
        [done.data, done.count, done.status],
        [
            [
                { id: 7, slug: 'one', content: 'a' },
                { id: 8, slug: 'second', content: '' },
            ],
            2,
            201,
        ],
    )
})

test('a missing key is null by default', async () => {
    await refused(service.from('posts').insert([{ user_id: 1, title: 'One' }, { user_id: 1 }]), '23502')
    assert.equal((await rows('posts')).length, 6)
})

test('insert of nothing', async () => {
    assert.equal((await service.from('tags').insert([])).status, 201)
    assert.deepEqual(await data(service.from('tags').insert([]).select()), [])
    assert.equal((await rows('tags')).length, 4)
})

test('insert with tags, answered with embeds', async () => {
    const insert = service.from('posts').insert({ user_id: 1, title: 'Tagged', tags: ['sql', 'fresh'] })
    const query = insert.select('title, author(username), tags(name)').order('name', { referencedTable: 'tags' })
    assert.deepEqual(await data(query.single()), {
        title: 'Tagged',
        author: { username: 'ada' },
        tags: [{ name: 'fresh' }, { name: 'sql' }],
    })
})

test('insert answered with maybeSingle and csv', async () => {
    assert.deepEqual(await data(service.from('tags').insert({ name: 'x' }).select('name').maybeSingle()), { name: 'x' })
    assert.equal(await data(service.from('tags').insert({ name: 'y' }).select('name').csv()), 'name\ny')
})

const WRONG = [
    ['tags', { name: 'python' }, '23505', 409],
    ['tags', {}, '23502', 400],
    ['tags', { name: 'x', colour: 'red' }, 'PGRST204', 400],
    ['tags', { name: 'x', id: 9 }, '428C9', 400],
    ['posts', { user_id: 99, title: 'x' }, '23503', 409],
    ['posts', { user_id: 'one', title: 'x' }, '22P02', 400],
    ['posts', { user_id: 1, title: 'x'.repeat(201) }, '22001', 400],
    ['posts', { user_id: 1, title: 'x', published_at: 'soon' }, '22007', 400],
    ['transfers', { to_user_id: 1, amount: 5 }, '42501', 403],
]

for (const [table, row, code, status] of WRONG) {
    test(`insert into ${table} is refused with ${code}`, async () => {
        const before = await rows(table)
        const answer = await service.from(table).insert(row)
        assert.deepEqual([answer.error?.code, answer.status], [code, status])
        assert.deepEqual(await rows(table), before)
    })
}

test('a visitor may not write', async () => {
    const attempts = [
        visitor.from('tags').insert({ name: 'new' }),
        visitor.from('posts').update({ title: 'mine' }).eq('id', 1),
        visitor.from('posts').delete().eq('id', 1),
    ]
    for (const attempt of attempts) {
        const answer = await attempt
        assert.deepEqual([answer.error?.code, answer.status], ['42501', 401])
    }
})

// ---- upsert --------------------------------------------------------------------------------------------------------

test('upsert inserts and merges', async () => {
    const users = [
        { username: 'ada', full_name: 'Ada King' },
        { username: 'eve', full_name: 'Eve' },
    ]
    const done = await service
        .from('users')
        .upsert(users, { onConflict: 'username', count: 'exact' })
        .select('id, full_name')
        .order('id')
    assert.deepEqual(
        [done.data, done.count, done.status],
        [
            [
                { id: 1, full_name: 'Ada King' },
                { id: 4, full_name: 'Eve' },
            ],
            2,
            201,
        ],
    )
    assert.deepEqual(await data(service.from('users').select('email, role, version').eq('id', 1).single()), {
        email: 'ada@example.org',
        role: 'author',
        version: 2,
    })
})

test('upsert by the primary key that only merges', async () => {
    const done = await service.from('tags').upsert({ id: 1, name: 'Python' })
    assert.deepEqual([done.error, done.data, done.status], [null, null, 200])
    assert.deepEqual(await data(service.from('tags').select('name').eq('id', 1)), [{ name: 'Python' }])
})

test('upsert that ignores', async () => {
    const tags = [{ name: 'python' }, { name: 'rust' }]
    const options = { onConflict: 'name', ignoreDuplicates: true, defaultToNull: false }
    const done = await service.from('tags').upsert(tags, options).select('name, version')
    assert.deepEqual([done.data, done.status], [[{ name: 'rust', version: 1 }], 201])
})

const CONFLICTS = [
    [[{ name: 'x' }, { name: 'x' }], 'name', '21000'],
    [[{ name: 'x' }], 'created_at', '42P10'],
    [[{ name: 'x' }], 'colour', '42703'],
    [[{ id: 99, name: 'x' }], 'id', '428C9'],
]

for (const [tags, onConflict, code] of CONFLICTS) {
    test(`upsert on ${onConflict} is refused with ${code}`, async () => {
        await refused(service.from('tags').upsert(tags, { onConflict }), code)
        assert.equal((await rows('tags')).length, 4)
    })
}

// ---- update --------------------------------------------------------------------------------------------------------

test('update', async () => {
    const done = await service.from('posts').update({ status: 'archived' }, { count: 'exact' }).eq('user_id', 1)
    assert.deepEqual([done.data, done.count, done.status], [null, 3, 204])
    assert.deepEqual(await ids(service.from('posts').select('id').eq('status', 'archived').order('id')), [1, 2, 5])
})

test('update answered with rows', async () => {
    const change = () => service.from('posts').update({ title: 'New' })
    const done = await change().eq('id', 2).select('title, version, author(username)')
    assert.deepEqual([done.data, done.status], [[{ title: 'New', version: 2, author: { username: 'ada' } }], 200])
    const none = await change().eq('id', 99).select()
    assert.deepEqual([none.data, none.status], [[], 200])
    assert.deepEqual(await data(change().eq('id', 1).select('id').single()), { id: 1 })
    await refused(change().in('id', [3, 4]).select().single(), 'PGRST116')
    assert.equal((await data(service.from('posts').select('title').eq('id', 3).single())).title, 'Async Python')
})

test('an unfiltered change is refused', async () => {
    for (const query of [service.from('tags').update({ name: 'x' }), service.from('tags').delete()]) {
        assert.match((await refused(query, '21000')).message, /requires a WHERE clause/)
    }
    assert.equal((await rows('tags')).length, 4)
})

test('maxAffected', async () => {
    const change = () => service.from('posts').update({ status: 'archived' })
    const error = await refused(change().eq('user_id', 1).maxAffected(2), 'PGRST124')
    assert.equal(error.details, 'The query affects 3 rows')
    assert.deepEqual(await ids(service.from('posts').select('id').eq('status', 'archived')), [])
    assert.deepEqual(
        await ids(service.from('posts').delete().in('id', [1, 2]).maxAffected(2).select('id').order('id')),
        [1, 2],
    )
})

test('rollback', async () => {
    assert.deepEqual(await data(service.from('tags').insert({ name: 'gone' }).rollback().select('name')), [
        { name: 'gone' },
    ])
    assert.equal((await service.from('tags').update({ name: 'gone' }).eq('id', 1).rollback()).status, 204)
    assert.deepEqual(await ids(service.from('posts').delete().eq('id', 1).rollback().select('id')), [1])
    assert.deepEqual(
        (await rows('tags', 'name')).map((tag) => tag.name),
        ['python', 'sql', 'async', 'C, the language'],
    )
    assert.equal((await rows('posts')).length, 6)
})

const CHANGES = [
    [{ slug: 'sql-joins' }, '23505'],
    [{ title: null }, '23502'],
    [{ balance: 5 }, 'PGRST204'],
    [{ version: 5 }, 'PGRST204'],
    [{ status: 'lost' }, '23514'],
    [{ user_id: 'one' }, '22P02'],
]

for (const [values, code] of CHANGES) {
    test(`update to ${JSON.stringify(values)} is refused with ${code}`, async () => {
        await refused(service.from('posts').update(values).eq('id', 1), code)
        assert.deepEqual(await data(service.from('posts').select('version').eq('id', 1)), [{ version: 1 }])
    })
}

// ---- delete --------------------------------------------------------------------------------------------------------

test('delete', async () => {
    const done = await service.from('posts').delete({ count: 'exact' }).eq('user_id', 2)
    assert.deepEqual([done.data, done.count, done.status], [null, 3, 204])
    assert.deepEqual(
        (await rows('posts')).map((post) => post.id),
        [1, 2, 5],
    )
})

test('delete answered with rows', async () => {
    const query = service.from('posts').delete().in('id', [1, 4]).select('id, tags(name)').order('id')
    const done = await query.order('name', { referencedTable: 'tags' })
    assert.deepEqual(
        [done.data, done.status],
        [
            [
                { id: 1, tags: [{ name: 'python' }, { name: 'sql' }] },
                { id: 4, tags: [] },
            ],
            200,
        ],
    )
    assert.equal((await service.from('tags').delete().eq('name', 'sql')).status, 204)
    assert.equal((await rows('tags')).length, 3)
})

test('delete of a user with a balance is refused', async () => {
    await refused(service.from('users').delete().eq('id', 1), 'BRD409')
})
