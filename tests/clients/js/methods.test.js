// No method of the clients is left out of these tests.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import {
    PostgrestBuilder,
    PostgrestClient,
    PostgrestFilterBuilder,
    PostgrestQueryBuilder,
    PostgrestTransformBuilder,
} from '@supabase/postgrest-js'
import provider from '@raphiniert/ra-data-postgrest'

const here = new URL('.', import.meta.url)
const sources = readdirSync(here)
    .filter((name) => name.endsWith('.test.js'))
    .map((name) => readFileSync(new URL(name, here), 'utf8'))
    .join('\n')
// what the classes keep for themselves, and what `await` calls
const INTERNAL = new Set(['constructor', 'then', 'cloneRequestState', 'processResponse', 'decorateFetch'])

const methods = (kind) => Object.getOwnPropertyNames(kind.prototype).filter((name) => !INTERNAL.has(name))

for (const kind of [
    PostgrestClient,
    PostgrestQueryBuilder,
    PostgrestFilterBuilder,
    PostgrestTransformBuilder,
    PostgrestBuilder,
]) {
    test(`every method of ${kind.name} is called`, () => {
        const names = methods(kind)
        assert.ok(names.length > 3, names.join())
        assert.deepEqual(
            names.filter((name) => !sources.includes(`.${name}(`)),
            [],
        )
    })
}

test('every method of the data provider is called', () => {
    const names = Object.keys(provider.default({ primaryKeys: new Map(), schema: () => '' }))
    assert.equal(names.length, 9)
    assert.deepEqual(
        names.filter((name) => !sources.includes(`admin.${name}(`)),
        [],
    )
})
