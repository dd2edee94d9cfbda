// Clients of the server that the environment names, and short ways to ask and to be refused.

import assert from 'node:assert/strict'
import { PostgrestClient } from '@supabase/postgrest-js'
import { createClient } from '@supabase/supabase-js'

const { CLIENTS_URL: url, CLIENTS_PUBLISHABLE: publishable, CLIENTS_SECRET: secret } = process.env

export const base = `${url}/rest/v1`
export const secretKey = secret
const quiet = { auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false } }

/** Sees every row. */
export const service = createClient(url, secret, quiet)
/** A visitor. */
export const visitor = createClient(url, publishable, quiet)
/** The same dialect without the rest of supabase-js. */
export const rest = new PostgrestClient(base, { headers: { apikey: secret }, schema: 'public' })

/** Puts the rows back as `tests/clients/serve.py` made them. */
export async function reset() {
    const done = await fetch(`${url}/testing/reset`, { method: 'POST' })
    assert.equal(done.status, 204)
}

/** The data of an answer that must be no error. */
export async function data(query) {
    const answer = await query
    assert.equal(answer.error, null, JSON.stringify(answer))
    return answer.data
}

/** The ids of the rows of an answer. */
export async function ids(query) {
    return (await data(query)).map((row) => row.id)
}

/** The error of a request that is answered with this code. */
export async function refused(query, code) {
    const { error } = await query
    assert.equal(error?.code, code, JSON.stringify(error))
    assert.deepEqual(Object.keys(error).sort(), ['code', 'details', 'hint', 'message'])
    return error
}
