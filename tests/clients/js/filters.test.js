// supabase-js: every filter, by the ids of the rows that it finds, and the filters that are refused.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ids, refused, service } from './support.js'

const FINDS = {
    posts: [
        [(q) => q.eq('id', 1), [1]],
        [(q) => q.eq('title', 'Hello, World'), [1]],
        [(q) => q.eq('title', null), []], // compares with the text "null"
        [(q) => q.neq('status', 'draft'), [1, 2, 3, 5, 6]],
        [(q) => q.gt('id', 4), [5, 6]],
        [(q) => q.gte('published_at', '2025-12-03T09:30:00Z'), [3, 5, 6]],
        [(q) => q.gte('published_at', new Date('2025-12-03T09:30:00Z').toISOString()), [3, 5, 6]],
        [(q) => q.lt('id', 2), [1]],
        [(q) => q.lte('published_at', 'now()'), [1, 2, 3, 5]],
        [(q) => q.like('title', '%joins'), [2]],
        [(q) => q.like('title', '*JOINS'), []],
        [(q) => q.like('content', '(50 \\%%'), [5]],
        [(q) => q.ilike('title', '%ÄRGER%'), [5]],
        [(q) => q.likeAllOf('title', ['%A%', '%P%']), [3]],
        [(q) => q.likeAnyOf('title', ['Hello%', 'SQL%']), [1, 2]],
        [(q) => q.ilikeAllOf('title', ['%S%', '%j%']), [2]],
        [(q) => q.ilikeAnyOf('title', ['later', 'draft%']), [4, 6]],
        [(q) => q.regexMatch('title', '^[AL]'), [3, 6]],
        [(q) => q.regexIMatch('title', '^[al]'), [3, 6]],
        [(q) => q.is('published_at', null), [4]],
        [(q) => q.isDistinct('published_at', '2025-12-01T09:30:00Z'), [2, 3, 4, 5, 6]],
        [(q) => q.in('id', [1, 3, 3]), [1, 3]],
        [(q) => q.in('title', ['Hello, World', 'Later']), [1, 6]],
        [(q) => q.in('content', ['(50 % off)']), [5]],
        [(q) => q.in('id', []), []],
        [(q) => q.notIn('id', [1, 2, 3]), [4, 5, 6]],
        [(q) => q.notIn('title', ['Hello, World', 'Later']), [2, 3, 4, 5]],
        [(q) => q.notIn('id', []), [1, 2, 3, 4, 5, 6]],
        [(q) => q.textSearch('search', 'quick & fox'), [1]],
        [(q) => q.textSearch('search', "'quick' & !'fox'"), [2]],
        [(q) => q.textSearch('search', 'joins quick', { type: 'plain', config: 'english' }), [2]],
        [(q) => q.textSearch('search', 'quick brown', { type: 'phrase' }), [1]],
        [(q) => q.textSearch('search', '"lazy dog" or loops', { type: 'websearch' }), [1, 3]],
        [(q) => q.match({ user_id: 1, status: 'published', title: undefined }), [1, 2, 5]],
        [(q) => q.not('status', 'eq', 'published'), [4]],
        [(q) => q.not('published_at', 'is', null), [1, 2, 3, 5, 6]],
        [(q) => q.not('id', 'in', '(1,2,3)'), [4, 5, 6]],
        [(q) => q.or('id.eq.1,status.eq.draft'), [1, 4]],
        [(q) => q.or('title.eq."Hello, World",and(id.gt.4,user_id.eq.1)'), [1, 5]],
        [(q) => q.or('id.in.(1,2),not.and(id.lt.6,id.gt.0)'), [1, 2, 6]],
        [(q) => q.filter('title', 'eq', 'Later'), [6]],
        [(q) => q.filter('title', 'not.in', '("Later","SQL joins")'), [1, 3, 4, 5]],
        [(q) => q.filter('id', 'gte(any)', '{5,6}'), [5, 6]],
        [(q) => q.gt('id', 1).lt('id', 4), [2, 3]],
    ],
    users: [
        [(q) => q.eq('is_active', true), [1, 2]],
        [(q) => q.is('is_active', true), [1, 2]],
        [(q) => q.is('is_active', false), [3]],
        [(q) => q.is('full_name', null), [3]],
        [(q) => q.isDistinct('full_name', 'Ada Lovelace'), [2, 3]],
        [(q) => q.textSearch('search', 'stone'), [2]],
    ],
    tags: [
        [(q) => q.in('name', ['python', 'C, the language']), [1, 4]],
        [(q) => q.eq('name', 'C, the language'), [4]],
    ],
}

for (const [table, cases] of Object.entries(FINDS)) {
    for (const [build, expected] of cases) {
        test(`${table}: ${build}`, async () => {
            assert.deepEqual(await ids(build(service.from(table).select('id')).order('id')), expected)
        })
    }
}

const REFUSED = [
    [(q) => q.contains('title', ['a', 'b']), 'PGRST127'],
    [(q) => q.contains('title', { a: 1 }), 'PGRST127'],
    [(q) => q.contains('title', '[1,2)'), 'PGRST127'],
    [(q) => q.containedBy('title', ['a']), 'PGRST127'],
    [(q) => q.overlaps('title', ['a']), 'PGRST127'],
    [(q) => q.rangeGt('id', '[1,2)'), 'PGRST127'],
    [(q) => q.rangeGte('id', '[1,2)'), 'PGRST127'],
    [(q) => q.rangeLt('id', '[1,2)'), 'PGRST127'],
    [(q) => q.rangeLte('id', '[1,2)'), 'PGRST127'],
    [(q) => q.rangeAdjacent('id', '[1,2)'), 'PGRST127'],
    [(q) => q.eq('id', null), '22P02'],
    [(q) => q.eq('id', 'one'), '22P02'],
    [(q) => q.eq('nothing', 1), '42703'],
    [(q) => q.eq('author.username', 'ada'), 'PGRST108'],
    [(q) => q.like('id', '1%'), '42883'],
    [(q) => q.is('title', true), '42804'],
    [(q) => q.or('id.eq.1,'), 'PGRST100'],
    [(q) => q.or('author.username.eq.ada'), 'PGRST100'],
    [(q) => q.filter('id', 'similar', '1'), 'PGRST100'],
    [(q) => q.regexMatch('title', '('), '2201B'],
    [(q) => q.textSearch('search', 'fox &'), '42601'],
    [(q) => q.textSearch('title', 'fox'), 'PGRST127'],
    [(q) => q.textSearch('search', 'fox', { config: 'klingon' }), '42704'],
]

for (const [build, code] of REFUSED) {
    test(`refused: ${build}`, async () => {
        const error = await refused(build(service.from('posts').select('id')), code)
        assert.notEqual(error.message, '')
    })
}
