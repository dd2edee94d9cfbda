// supabase-js: sessions and their ends, tokens that run out, refreshes at once, and rows by session.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import {
    accepted,
    at,
    claimsOf,
    connect,
    missing,
    newcomer,
    noteEvents,
    refused,
    service,
    sessionId,
    signIn,
    signUp,
    sites,
} from '../accounts.js'

const LONG_AGO = -3700 // seconds: an access token of then has run out, for clients and for the server

/** Two clients with a session each of the same user. */
async function twoSessions() {
    const [here, elsewhere, ada] = [connect(), connect(), newcomer()]
    return [here, elsewhere, await signUp(here, ada), await signIn(elsewhere, ada)]
}

async function makeAuthor(session) {
    const change = service.from('users').update({ role: 'author' }).eq('id', session.user.app_metadata.user_id)
    assert.equal((await change).error, null)
}

// ---- ends ----------------------------------------------------------------------------------------------------------

test('signing out locally leaves the other session', async () => {
    const [here, elsewhere, session] = await twoSessions()
    accepted(await here.auth.signOut({ scope: 'local' }))
    assert.equal(accepted(await here.auth.getSession()).session, null)
    await missing(here.auth.getUser(session.access_token))
    await refused(here.auth.refreshSession(session), 'refresh_token_not_found')
    accepted(await elsewhere.auth.getUser())
    accepted(await elsewhere.auth.refreshSession())
})

test('signing out others leaves this session', async () => {
    const [here, elsewhere] = await twoSessions()
    accepted(await here.auth.signOut({ scope: 'others' }))
    accepted(await here.auth.getUser())
    await refused(elsewhere.auth.refreshSession(), 'refresh_token_not_found')
    await missing(elsewhere.auth.getUser())
})

test('signing out ends all sessions of this user alone', async () => {
    const [here, elsewhere] = await twoSessions()
    const bob = connect()
    await signUp(bob)
    accepted(await here.auth.signOut())
    await missing(elsewhere.auth.getUser())
    accepted(await elsewhere.auth.signOut())
    accepted(await bob.auth.getUser())
})

// ---- another's tokens ----------------------------------------------------------------------------------------------

test('a session is carried to another client', async () => {
    const carried = await signUp(connect())
    const elsewhere = connect()
    const events = await noteEvents(elsewhere)
    assert.deepEqual(accepted(await elsewhere.auth.setSession(carried)).user, carried.user)
    assert.deepEqual(events, ['SIGNED_IN'])
    accepted(await elsewhere.auth.refreshSession())
})

test('a session that has run out is refreshed where it is carried', async () => {
    const carried = await at(LONG_AGO, () => signUp(connect()))
    const elsewhere = connect()
    const events = await noteEvents(elsewhere)
    const { session } = accepted(await elsewhere.auth.setSession(carried))
    assert.notEqual(session.access_token, carried.access_token)
    assert.deepEqual(events, ['TOKEN_REFRESHED'])
    await refused(elsewhere.auth.getUser(carried.access_token), 'bad_jwt', 403)
})

test('a session is found in the storage', async () => {
    const kept = new Map()
    const storage = {
        getItem: (key) => kept.get(key) ?? null,
        setItem: (key, value) => void kept.set(key, value),
        removeItem: (key) => void kept.delete(key),
    }
    const session = await at(LONG_AGO, () => signUp(connect({ storage })))
    const later = connect({ storage, autoRefreshToken: true })
    const found = accepted(await later.auth.getSession()).session
    assert.equal(sessionId(found), sessionId(session))
    assert.notEqual(found.access_token, session.access_token)
    await later.auth.dispose()
})

// ---- refreshes -----------------------------------------------------------------------------------------------------

test('twenty refreshes at once give one family', async () => {
    const first = await signUp(connect())
    const tabs = Array.from({ length: 20 }, () => connect())
    const answers = await Promise.all(tabs.map((tab) => tab.auth.refreshSession(first)))
    const sessions = answers.map((answer) => accepted(answer).session)
    assert.deepEqual([...new Set(sessions.map(sessionId))], [sessionId(first)])
    const tokens = new Set(sessions.map((session) => session.refresh_token))
    assert.deepEqual([tokens.size, tokens.has(first.refresh_token)], [1, false])
    const users = await Promise.all(tabs.map((tab) => tab.auth.getUser()))
    assert.deepEqual([...new Set(users.map((answer) => accepted(answer).user.id))], [first.user.id])
    const again = await Promise.all(tabs.map((tab) => tab.auth.refreshSession()))
    again.forEach(accepted)
})

test('an old token ends the session, and the client signs out', async () => {
    const [client, thief] = [connect(), connect()]
    const first = await at(LONG_AGO, () => signUp(client))
    const second = accepted(await thief.auth.refreshSession(first)).session
    const third = accepted(await thief.auth.refreshSession()).session
    assert.notEqual(second.refresh_token, third.refresh_token)
    const events = await at(11, async () => {
        const seen = []
        client.auth.onAuthStateChange((event) => seen.push(event))
        const { data, error } = await client.auth.getSession()
        assert.deepEqual([data.session, error?.code], [null, 'refresh_token_already_used'])
        return seen
    })
    assert.ok(events.includes('SIGNED_OUT'), events.join())
    await refused(thief.auth.refreshSession(), 'refresh_token_not_found')
    await missing(thief.auth.getUser())
})

test('tokens of nobody are refused', async () => {
    const { access_token } = await signUp(connect())
    for (const refresh_token of ['nonsense', access_token]) {
        await refused(connect().auth.refreshSession({ refresh_token }), 'refresh_token_not_found')
    }
})

// ---- expiry --------------------------------------------------------------------------------------------------------

test('queries go on when the token has run out', async () => {
    const client = connect()
    const session = await at(LONG_AGO, () => signUp(client))
    await makeAuthor(session)
    const events = await noteEvents(client)
    const titles = ['One', 'Two', 'Three']
    const made = await Promise.all(titles.map((title) => client.from('posts').insert({ title }).select('user_id')))
    made.forEach((answer) => assert.deepEqual(answer.data, [{ user_id: session.user.app_metadata.user_id }]))
    accepted(await client.auth.getUser())
    assert.ok(events.length <= 1, events.join())
    assert.equal(sessionId(accepted(await client.auth.getSession()).session), sessionId(session))
})

test('the ticker refreshes before the token runs out', async () => {
    const client = connect()
    const session = await at(-3600 + 60, () => signUp(client))
    const refreshed = new Promise((resolve) => {
        client.auth.onAuthStateChange((event, now) => {
            if (event === 'TOKEN_REFRESHED') resolve(now)
        })
    })
    await client.auth.startAutoRefresh()
    assert.equal(sessionId(await refreshed), sessionId(session))
    await client.auth.stopAutoRefresh()
})

// ---- claims --------------------------------------------------------------------------------------------------------

test('claims are verified without the server', async () => {
    const paths = []
    const note = (input, init) => {
        paths.push(new URL(input).pathname)
        return fetch(input, init)
    }
    const client = connect({ fetch: note, storageKey: 'claims' })
    const session = await signUp(client, newcomer(), { nick: 'zz' })
    paths.length = 0
    const found = [await client.auth.getClaims(), await client.auth.getClaims()].map(accepted)
    assert.deepEqual(paths, ['/auth/v1/.well-known/jwks.json'])
    const { claims, header } = found[1]
    assert.equal(header.alg, 'ES256')
    assert.deepEqual([claims.sub, claims.role, claims.aal], [session.user.id, 'authenticated', 'aal1'])
    assert.deepEqual(claims.user_metadata, { nick: 'zz' })
    const level = accepted(await client.auth.mfa.getAuthenticatorAssuranceLevel())
    assert.deepEqual([level.currentLevel, level.nextLevel], ['aal1', 'aal1'])
    assert.equal(level.currentAuthenticationMethods[0].method, 'password')
    accepted(await client.auth.mfa.getAuthenticatorAssuranceLevel(session.access_token))
})

test('claims of a forged token are refused', async () => {
    const client = connect()
    const session = await signUp(client)
    const [head, payload, signature] = session.access_token.split('.')
    const { error } = await client.auth.getClaims(`${head}.${payload}.${[...signature].reverse().join('')}`)
    assert.equal(error.name, 'AuthInvalidJwtError')
    const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
    for (const header of [{ alg: 'ES256', kid: 'unknown', typ: 'JWT' }, { alg: 'HS256', typ: 'JWT' }]) {
        const signed = `${encode(header)}.${encode(claimsOf(session))}`
        const code = createHmac('sha256', 'guess').update(signed).digest('base64url')
        await refused(client.auth.getClaims(`${signed}.${code}`), 'bad_jwt', 403)
    }
})

// ---- rows ----------------------------------------------------------------------------------------------------------

test('an author writes posts and sees own drafts', async () => {
    const [client, bob, visitor] = [connect(), connect(), connect()]
    await makeAuthor(await signUp(client))
    await makeAuthor(await signUp(bob))
    const made = await client.from('posts').insert({ title: 'My draft' }).select('id, status').single()
    assert.equal(made.data?.status, 'draft', JSON.stringify(made))
    const own = { id: made.data.id }
    const seen = (await client.from('posts').select('title').match(own)).data
    assert.deepEqual(seen, [{ title: 'My draft' }])
    for (const other of [bob, visitor]) {
        assert.deepEqual((await other.from('posts').select('title').match(own)).data, [])
    }
    assert.deepEqual((await bob.from('posts').update({ title: 'Mine' }).match(own).select()).data, [])
    assert.equal((await client.from('posts').delete().match(own)).status, 204)
})

test('a member may not write posts', async () => {
    const client = connect()
    await signUp(client)
    const { error, status } = await client.from('posts').insert({ title: 'Mine' })
    assert.deepEqual([error.code, status], ['42501', 403])
})

test('what needs no session is asked with the key', async () => {
    const answer = await fetch(`${sites.open.url}/auth/v1/user`, { headers: { apikey: sites.open.publishable } })
    assert.deepEqual([answer.status, (await answer.json()).code], [401, 'no_authorization'])
})
