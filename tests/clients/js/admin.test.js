// react-admin's data provider ra-data-postgrest: every method, with the filters that its forms make.

import assert from 'node:assert/strict'
import { after, beforeEach, test } from 'node:test'
import provider from '@raphiniert/ra-data-postgrest'
import { fetchUtils } from 'ra-core'
import { base, reset, secretKey } from './support.js'

beforeEach(reset)
after(reset)

function httpClient(url, options = {}) {
    const headers = new Headers(options.headers)
    headers.set('apikey', secretKey)
    return fetchUtils.fetchJson(url, { ...options, headers })
}

const admin = provider.default({
    apiUrl: base,
    httpClient,
    defaultListOp: 'eq',
    primaryKeys: new Map([...provider.defaultPrimaryKeys, ['post_tags', ['post_id', 'tag_id']]]),
    schema: () => 'public',
    sortOrder: 'asc,desc.nullslast', // PostgRestSortOrder.AscendingNullsLastDescendingNullsLast, an enum of TypeScript
})

const list = (resource, filter = {}, more = {}) =>
    admin.getList(resource, {
        pagination: { page: 1, perPage: 25 },
        sort: { field: 'id', order: 'ASC' },
        filter,
        ...more,
    })

// ---- lists ---------------------------------------------------------------------------------------------------------

const FILTERS = [
    [{}, [1, 2, 3, 4, 5, 6]],
    [{ status: 'draft' }, [4]],
    [{ status: 'published', user_id: 1 }, [1, 2, 5]],
    [{ 'status@neq': 'published' }, [4]],
    [{ 'id@gt': 2, 'user_id@eq': 1 }, [5]],
    [{ 'published_at@gte': '2025-12-03' }, [3, 5, 6]],
    [{ 'published_at@lt': '2025-12-02T00:00:00Z' }, [1]],
    [{ 'published_at@is': 'null' }, [4]],
    [{ 'published_at@not.is': 'null' }, [1, 2, 3, 5, 6]],
    [{ 'id@in': '(1,3)' }, [1, 3]],
    [{ 'title@like': 'joins' }, [2]],
    [{ 'title@ilike': 'hello' }, [1]],
    [{ 'title@ilike': 'joins sql' }, [2]],
    [{ 'title@ilike': 'büro im ärger' }, [5]],
    [{ 'title@ilike': 'büro sql' }, []],
    [{ 'title@imatch': '^[al]' }, [3, 6]],
    [{ 'search@wfts': 'quick -fox' }, [2]],
    [{ 'search@plfts': 'brown quick' }, [1]],
    [{ '@or': { 'title@ilike': 'later', 'id@lt': 2 } }, [1, 6]],
    [{ '@or': { 'title@ilike': 'sql', status: 'draft' }, user_id: 2 }, [4]],
    [{ '@and': { 'id@gt': 1, status: 'published' } }, [2, 3, 5, 6]],
]

for (const [filter, expected] of FILTERS) {
    test(`getList with ${JSON.stringify(filter)}`, async () => {
        const found = await list('posts', filter)
        assert.deepEqual(
            found.data.map((post) => post.id),
            expected,
        )
        assert.equal(found.total, expected.length)
    })
}

test('getList pages and sorts', async () => {
    const sort = { field: 'published_at', order: 'DESC' }
    const page = await list('posts', {}, { sort, pagination: { page: 2, perPage: 2 } })
    assert.deepEqual([page.data.map((post) => post.id), page.total], [[3, 2], 6])
    const nulls = await list('posts', {}, { sort, meta: { nullsfirst: true }, pagination: { page: 1, perPage: 2 } })
    assert.deepEqual(
        nulls.data.map((post) => post.id),
        [4, 6],
    )
})

test('getList with columns, embeds and prefetched rows', async () => {
    const some = await list('posts', { id: 1 }, { meta: { columns: ['id', 'title'], embed: ['tags'] } })
    assert.deepEqual(Object.keys(some.data[0]).sort(), ['id', 'tags', 'title'])
    assert.deepEqual(some.data[0].tags.map((tag) => tag.name).sort(), ['python', 'sql'])
    const prefetched = await list('posts', {}, { meta: { prefetch: ['author'] } })
    assert.deepEqual(
        prefetched.meta.prefetched.author.map((user) => user.username),
        ['ada', 'bob'],
    )
    assert.equal('author' in prefetched.data[0], false)
    const inner = await list('posts', { 'tags.name': 'sql' }, { meta: { columns: '*,tags!inner(name)' } })
    assert.deepEqual([inner.data.map((post) => post.id), inner.total], [[1, 2], 2])
})

test('getList of a function', async () => {
    const found = await list('rpc/search', { 'q@': 'quick' })
    assert.deepEqual([found.data.map((post) => post.id), found.total], [[1, 2], 2])
})

test('getManyReference', async () => {
    const found = await admin.getManyReference('posts', {
        target: 'user_id',
        id: 1,
        pagination: { page: 1, perPage: 2 },
        sort: { field: 'title', order: 'ASC' },
        filter: { 'title@ilike': 's' },
    })
    assert.deepEqual([found.data.map((post) => post.title), found.total], [['SQL joins'], 1])
})

// ---- rows by id ----------------------------------------------------------------------------------------------------

test('getOne', async () => {
    assert.equal((await admin.getOne('posts', { id: 2 })).data.title, 'SQL joins')
    const shown = await admin.getOne('posts', { id: 2, meta: { embed: ['author'] } })
    assert.equal(shown.data.author.username, 'ada')
    await assert.rejects(
        () => admin.getOne('posts', { id: 99 }),
        (error) => error.status === 406 && error.body.code === 'PGRST116',
    )
})

test('getMany', async () => {
    assert.deepEqual(
        (await admin.getMany('tags', { ids: [1, 3] })).data.map((tag) => tag.name),
        ['python', 'async'],
    )
    assert.deepEqual(
        (await admin.getMany('tags', { ids: [2] })).data.map((tag) => tag.name),
        ['sql'],
    )
})

test('rows with a compound key', async () => {
    const one = await admin.getOne('post_tags', { id: '[1,2]' })
    assert.deepEqual(one.data, { id: '[1,2]', post_id: 1, tag_id: 2 })
    const many = await admin.getMany('post_tags', { ids: ['[1,2]', '[3,3]'] })
    assert.deepEqual(many.data.map((link) => link.id).sort(), ['[1,2]', '[3,3]'])
    const all = await list('post_tags')
    assert.deepEqual(
        [all.data.map((link) => link.id), all.total],
        [['[1,1]', '[1,2]', '[2,2]', '[3,1]', '[3,3]', '[6,1]'], 6],
    )
})

// ---- changes -------------------------------------------------------------------------------------------------------

test('create', async () => {
    const made = await admin.create('posts', {
        data: { user_id: 2, title: 'Made' },
        meta: { columns: 'id,title,slug' },
    })
    assert.deepEqual(made.data, { id: 7, title: 'Made', slug: 'made' })
    await assert.rejects(
        () => admin.create('tags', { data: { name: 'sql' } }),
        (error) => error.status === 409 && error.body.code === '23505',
    )
})

test('update', async () => {
    const { data: before } = await admin.getOne('posts', { id: 4 })
    const done = await admin.update('posts', { id: 4, data: { ...before, title: 'Ready' }, previousData: before })
    assert.deepEqual([done.data.title, done.data.version], ['Ready', 2])
    const same = await admin.update('posts', { id: 4, data: before, previousData: before })
    assert.equal(same.data.version, 1) // what it was given: nothing was sent
    const none = admin.update('posts', { id: 99, data: { title: 'x' }, previousData: {} })
    await assert.rejects(
        () => none,
        (error) => error.status === 406 && error.body.code === 'PGRST116',
    )
})

test('updateMany', async () => {
    const done = await admin.updateMany('posts', { ids: [1, 2], data: { status: 'archived' } })
    assert.deepEqual(done.data.sort(), [1, 2])
    assert.equal((await list('posts', { status: 'archived' })).total, 2)
})

test('delete', async () => {
    const gone = await admin.delete('posts', { id: 1, previousData: { id: 1 } })
    assert.equal(gone.data.title, 'Hello, World')
    await assert.rejects(
        () => admin.delete('posts', { id: 1, previousData: { id: 1 } }),
        (error) => error.body.code === 'PGRST116',
    )
    assert.equal((await list('posts')).total, 5)
})

test('deleteMany', async () => {
    const gone = await admin.deleteMany('tags', { ids: [3, 4] })
    assert.deepEqual(gone.data.sort(), [3, 4])
    assert.equal((await list('tags')).total, 2)
})

test('a refusal reaches the form', async () => {
    await assert.rejects(
        () => list('posts', { nothing: 'x' }),
        (error) => error.status === 400 && error.body.code === '42703',
    )
})
