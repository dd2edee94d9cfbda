// Clients of the sites of `serve_accounts.py`, people who use them, and short ways to be refused.

import assert from 'node:assert/strict'
import { AuthApiError, createClient } from '@supabase/supabase-js'

/** `open`, `confirming` and `strict`: each has `url`, `publishable` and `secret`. */
export const sites = JSON.parse(process.env.CLIENTS_SITES)
export const WELCOME = process.env.CLIENTS_WELCOME

/** A client that nobody has signed in with; of the open site with the publishable key, if not told otherwise. */
export function connect({ site = sites.open, key = site.publishable, fetch, ...auth } = {}) {
    return createClient(site.url, key, {
        auth: { autoRefreshToken: false, ...auth },
        ...(fetch && { global: { fetch } }),
    })
}

/** With the secret key. */
export const service = connect({ key: sites.open.secret })

let people = 0

/** Somebody whom no server knows. */
export function newcomer() {
    people += 1
    return { email: `js${people}-${process.pid}@example.org`, password: `correct horse ${people}` }
}

/** The session that follows at once; `data` is for user_metadata. */
export async function signUp(client, person = newcomer(), data = {}) {
    const answer = await client.auth.signUp({ ...person, options: { data } })
    return accepted(answer).session
}

export async function signIn(client, person) {
    return accepted(await client.auth.signInWithPassword(person)).session
}

/** The data of an answer that must be no error. */
export function accepted(answer) {
    assert.equal(answer.error, null, String(answer.error))
    return answer.data
}

/** The error of a call that is refused, as an application sees it: neither unknown nor one to try again. */
export async function refused(call, code, status = 400) {
    const { error } = await call
    assert.ok(error instanceof AuthApiError, `${code}: ${error}`)
    assert.deepEqual([error.code, error.status], [code, status], error.message)
    assert.ok(error.message)
    return error
}

/** The call is refused since the session is over. */
export async function missing(call) {
    assert.equal((await call).error?.name, 'AuthSessionMissingError')
}

/** The call is refused for its password. */
export async function tooWeak(call, ...reasons) {
    const { error } = await call
    assert.equal(error?.name, 'AuthWeakPasswordError', String(error))
    assert.deepEqual([error.status, error.code, error.reasons], [422, 'weak_password', reasons])
}

/** Does something while the server's clock is so many seconds ahead; that of the clients is not. */
export async function at(ahead, work) {
    await moveClock(ahead)
    try {
        return await work()
    } finally {
        await moveClock(0)
    }
}

async function moveClock(ahead) {
    const done = await fetch(`${sites.open.url}/testing/clock?ahead=${ahead}`, { method: 'POST' })
    assert.equal(done.status, 204)
}

/** The oldest mail to an address that was not asked for before. Mails are sent after the answer. */
export async function mail(address) {
    const query = new URLSearchParams({ to: address, wait: '20' })
    const found = await (await fetch(`${sites.open.url}/testing/mail?${query}`)).json()
    assert.ok(found, `no mail to ${address}`)
    return { ...found, token: new URL(found.link).searchParams.get('token') }
}

/** Where a browser is led to. */
export async function followed(link) {
    const answer = await fetch(link, { redirect: 'manual' })
    assert.equal(answer.status, 303)
    return new URL(answer.headers.get('location'))
}

/** The names of the events from here on, without the first one, which tells of the session that there is. */
export async function noteEvents(client) {
    const events = []
    await new Promise((resolve) => {
        client.auth.onAuthStateChange((event) => {
            if (event === 'INITIAL_SESSION') resolve()
            else events.push(event)
        })
    })
    return events
}

/** The id of the session that a token belongs to. */
export function sessionId(session) {
    return claimsOf(session).session_id
}

export function claimsOf(session) {
    return JSON.parse(Buffer.from(session.access_token.split('.')[1], 'base64url'))
}
