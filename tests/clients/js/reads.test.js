// supabase-js: select with embeds, order, pages, counts, and the forms of an answer.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createClient } from '@supabase/supabase-js'
import { base, data, ids, refused, rest, secretKey, service, visitor } from './support.js'

test('select without columns', async () => {
    const answer = await service.from('tags').select().eq('id', 1)
    assert.equal(answer.status, 200)
    assert.equal(answer.count, null)
    assert.deepEqual(answer.data, [
        {
            id: 1,
            name: 'python',
            created_at: '2026-01-01T12:00:00+00:00',
            updated_at: '2026-01-01T12:00:00+00:00',
            version: 1,
        },
    ])
})

test('columns, renamed and cast', async () => {
    const found = await data(service.from('posts').select('key: id::text, "title"').eq('id', 1))
    assert.deepEqual(found, [{ key: '1', title: 'Hello, World' }])
})

test('embeds', async () => {
    const query = service.from('posts').select(`
        title,
        author (username),
        tags (name)
    `)
    assert.deepEqual(await data(query.eq('id', 3).order('name', { referencedTable: 'tags' })), [
        { title: 'Async Python', author: { username: 'bob' }, tags: [{ name: 'async' }, { name: 'python' }] },
    ])
})

test('embeds by table, column and constraint', async () => {
    const named = 'a:users(id),b:user_id(id),c:users!posts_user_id_fkey(id),d:users!user_id(id)'
    const found = await data(service.from('posts').select(named).eq('id', 3))
    assert.deepEqual(found, [{ a: { id: 2 }, b: { id: 2 }, c: { id: 2 }, d: { id: 2 } }])
})

test('embeds are cut and ordered', async () => {
    const users = () =>
        service
            .from('users')
            .select('id, posts(id)')
            .order('id')
            .limit(2)
            .order('id', { ascending: false, referencedTable: 'posts' })
    assert.deepEqual(await data(users().limit(1, { referencedTable: 'posts' })), [
        { id: 1, posts: [{ id: 5 }] },
        { id: 2, posts: [{ id: 6 }] },
    ])
    const ranged = await data(users().range(1, 2, { foreignTable: 'posts' }))
    assert.deepEqual(
        ranged.map((user) => user.posts.map((post) => post.id)),
        [
            [2, 1],
            [4, 3],
        ],
    )
})

test('embeds are filtered', async () => {
    const users = () => service.from('users').select('id, posts(id)').in('id', [1, 2]).order('id')
    assert.deepEqual(await data(users().or('id.eq.1,id.eq.3', { referencedTable: 'posts' })), [
        { id: 1, posts: [{ id: 1 }] },
        { id: 2, posts: [{ id: 3 }] },
    ])
    assert.deepEqual(await data(users().eq('posts.status', 'draft')), [
        { id: 1, posts: [] },
        { id: 2, posts: [{ id: 4 }] },
    ])
    assert.deepEqual(await data(users().filter('posts.id', 'in', '(2,6)')), [
        { id: 1, posts: [{ id: 2 }] },
        { id: 2, posts: [{ id: 6 }] },
    ])
})

test('inner embeds and tests for related rows', async () => {
    const posts = (columns) => service.from('posts').select(columns).order('id')
    assert.deepEqual(await ids(posts('id, tags!inner(name)').eq('tags.name', 'python')), [1, 3, 6])
    assert.deepEqual(await ids(posts('id, tags()').is('tags', null)), [4, 5])
    assert.deepEqual(await ids(posts('id, tags()').not('tags', 'is', null)), [1, 2, 3, 6])
    assert.deepEqual(await ids(posts('id, tags(), author()').or('tags.is.null,id.eq.1')), [1, 4, 5])
})

test('counts of related rows, spread, nested embeds', async () => {
    const found = await data(service.from('users').select('id, posts(count)').order('id'))
    assert.deepEqual(
        found.map((user) => user.posts),
        [[{ count: 3 }], [{ count: 3 }], [{ count: 0 }]],
    )
    assert.deepEqual(await data(service.from('posts').select('id, ...author(writer:username)').eq('id', 1)), [
        { id: 1, writer: 'ada' },
    ])
    const nested = await data(
        service
            .from('tags')
            .select('name, posts(title, author(username))')
            .eq('id', 2)
            .order('id', { referencedTable: 'posts' }),
    )
    assert.deepEqual(nested, [
        {
            name: 'sql',
            posts: [
                { title: 'Hello, World', author: { username: 'ada' } },
                { title: 'SQL joins', author: { username: 'ada' } },
            ],
        },
    ])
})

test('aggregates', async () => {
    assert.deepEqual(await data(service.from('posts').select('count')), [{ count: 6 }])
    assert.deepEqual(await data(service.from('transfers').select('amount.sum(), count()')), [{ sum: 507, count: 3 }])
})

test('an ambiguous embed is refused', async () => {
    const answer = await service.from('transfers').select('*, users(*)')
    assert.equal(answer.status, 300)
    assert.equal(answer.error.code, 'PGRST201')
    assert.equal(answer.error.details.length, 2)
    await refused(service.from('posts').select('id, revisions(*)'), 'PGRST200')
})

test('order', async () => {
    const posts = (columns = 'id') => service.from('posts').select(columns)
    assert.deepEqual(
        await ids(posts().order('published_at', { ascending: false, nullsFirst: false })),
        [6, 5, 3, 2, 1, 4],
    )
    assert.deepEqual(await ids(posts().order('published_at', { ascending: false })), [4, 6, 5, 3, 2, 1])
    assert.deepEqual(await ids(posts().order('published_at', { nullsFirst: true })), [4, 1, 2, 3, 5, 6])
    assert.deepEqual(await ids(posts().order('user_id', { ascending: false }).order('id')), [3, 4, 6, 1, 2, 5])
    assert.deepEqual(
        await ids(posts('id, author()').order('author(username)', { ascending: false }).order('id')),
        [3, 4, 6, 1, 2, 5],
    )
    await refused(posts().order('nothing'), '42703')
    await refused(posts().order('author(username)'), 'PGRST108')
    await refused(posts('id, tags()').order('tags(name)'), 'PGRST118')
})

test('pages and counts', async () => {
    const posts = (options) => service.from('posts').select('id', options).order('id')
    const page = await posts({ count: 'exact' }).range(2, 3)
    assert.deepEqual([page.data, page.count, page.status], [[{ id: 3 }, { id: 4 }], 6, 206])
    const whole = await posts({ count: 'exact' }).limit(6)
    assert.deepEqual([whole.data.length, whole.count, whole.status], [6, 6, 200])
    const head = await posts({ count: 'exact', head: true }).eq('status', 'draft')
    assert.deepEqual([head.data, head.count, head.status], [null, 1, 200])
    const beyond = await posts({ count: 'exact' }).range(7, 8)
    assert.deepEqual([beyond.error.code, beyond.status], ['PGRST103', 416])
    for (const count of ['planned', 'estimated']) {
        assert.ok(Number.isInteger((await posts({ count })).count))
    }
})

test('single and maybeSingle', async () => {
    const users = () => service.from('users').select('username')
    assert.deepEqual(await data(users().eq('id', 1).single()), { username: 'ada' })
    assert.equal((await refused(users().single(), 'PGRST116')).details, 'The result contains 3 rows')
    const none = await users().eq('id', 99).single()
    assert.deepEqual(
        [none.error.code, none.error.details, none.status],
        ['PGRST116', 'The result contains 0 rows', 406],
    )
    assert.deepEqual(await data(users().eq('id', 1).maybeSingle()), { username: 'ada' })
    assert.equal(await data(users().eq('id', 99).maybeSingle()), null)
    await refused(users().maybeSingle(), 'PGRST116')
})

test('csv', async () => {
    const transfers = service.from('transfers').select('id,from_user_id,amount,note').order('id').limit(2)
    assert.equal(await data(transfers.csv()), 'id,from_user_id,amount,note\n1,,500,\n2,1,5,')
    assert.equal(await data(service.from('tags').select('name').eq('id', 4).csv()), 'name\n"C, the language"')
})

test('stripNulls', async () => {
    const users = () => service.from('users').select('id, full_name').order('id', { ascending: false })
    assert.deepEqual(await data(users().limit(2).stripNulls()), [{ id: 3 }, { id: 2, full_name: 'Bob Stone' }])
    assert.deepEqual(await data(users().limit(1).stripNulls().single()), { id: 3 })
})

test('geojson and explain are refused', async () => {
    await refused(service.from('posts').select('id').geojson(), 'PGRST107')
    await refused(service.from('posts').select('id').explain(), 'PGRST107')
    await refused(
        service.from('posts').select('id').explain({ format: 'json', analyze: true, verbose: true }),
        'PGRST107',
    )
})

test('what changes nothing on the wire changes nothing in the answer', async () => {
    const tag = () => service.from('tags').select('name').eq('id', 1)
    const expected = [{ name: 'python' }]
    assert.deepEqual(await data(tag().retry(false)), expected)
    assert.deepEqual(await data(tag().returns()), expected)
    assert.deepEqual(await data(tag().overrideTypes()), expected)
    assert.deepEqual(await data(tag().abortSignal(AbortSignal.timeout(5000))), expected)
    assert.deepEqual(await data(tag().setHeader('Accept', 'application/json')), expected)
})

test('an aborted request', async () => {
    const { error } = await service.from('tags').select('name').abortSignal(AbortSignal.abort())
    assert.match(error.message, /AbortError/)
})

test('throwOnError', async () => {
    const wrong = async () => await service.from('posts').select('nothing').throwOnError()
    await assert.rejects(wrong, { name: 'PostgrestError', code: '42703' })
    assert.deepEqual((await service.from('tags').select('id').eq('id', 1).throwOnError()).data, [{ id: 1 }])
})

test('schemas', async () => {
    assert.deepEqual(await ids(service.schema('public').from('tags').select('id').eq('id', 1)), [1])
    assert.deepEqual(await ids(rest.schema('public').from('tags').select('id').eq('id', 1)), [1])
    const other = await service.schema('private').from('tags').select('id')
    assert.deepEqual([other.error.code, other.status], ['PGRST106', 406])
})

test('an unknown table', async () => {
    for (const name of ['post', 'credentials']) {
        const answer = await service.from(name).select()
        assert.deepEqual([answer.error?.code, answer.status], ['PGRST205', 404])
    }
})

test('getOpenApiSpec', async () => {
    const { data: spec, error } = await rest.getOpenApiSpec()
    assert.equal(error, null)
    assert.equal(spec.swagger, '2.0')
    assert.match(spec.definitions.posts.properties.id.description, /<pk\/>/)
    assert.match(spec.definitions.posts.properties.user_id.description, /<fk table='users' column='id'\/>/)
    assert.ok('get' in spec.paths['/posts'])
})

// ---- who asks ------------------------------------------------------------------------------------------------------

test('a visitor sees what is public', async () => {
    const posts = await visitor.from('posts').select('id', { count: 'exact' }).order('id')
    assert.deepEqual([posts.data.map((post) => post.id), posts.count], [[1, 2, 3, 5], 4])
    assert.deepEqual(await data(visitor.from('users').select('username, email, balance').eq('id', 1)), [
        { username: 'ada', email: null, balance: null },
    ])
    assert.deepEqual(await data(visitor.from('transfers').select('id')), [])
    await refused(visitor.from('users').select('role'), '42703')
    await refused(visitor.from('posts').select('id').not('deleted_at', 'is', null), '42703')
})

test('a key as an access token', async () => {
    const token = createClient(base.replace('/rest/v1', ''), 'sb_publishable_wrong', {
        accessToken: async () => secretKey,
    })
    const wrong = await token.from('posts').select('id')
    assert.deepEqual([wrong.error?.code, wrong.status], ['PGRST301', 401])
    const bearer = await data(rest.from('posts').select('id').setHeader('Authorization', `Bearer ${secretKey}`))
    assert.equal(bearer.length, 6)
})
