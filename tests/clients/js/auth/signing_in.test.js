// supabase-js: signing up and in, and what a user changes of oneself.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { accepted, connect, missing, newcomer, noteEvents, refused, service, signIn, signUp, tooWeak } from '../accounts.js'

test('sign-up makes a user with a session', async () => {
    const client = connect()
    const ada = newcomer()
    const session = await signUp(client, ada, { full_name: 'Ada', colour: 'red' })
    const { user } = session
    assert.deepEqual([user.email, user.role, user.is_anonymous], [ada.email, 'authenticated', false])
    assert.deepEqual(user.user_metadata, { full_name: 'Ada', colour: 'red' })
    assert.ok(session.expires_at * 1000 > Date.now() + 3_500_000)
    const row = await service.from('users').select('uid, role, full_name').eq('id', user.app_metadata.user_id).single()
    assert.deepEqual(row.data, { uid: user.id, role: 'member', full_name: 'Ada' })
    assert.deepEqual(accepted(await client.auth.getSession()).session, session)
    assert.deepEqual(accepted(await client.auth.getUser()).user, user)
    assert.deepEqual(accepted(await client.auth.getUser(session.access_token)).user, user)
    const { identities } = accepted(await client.auth.getUserIdentities())
    assert.deepEqual(
        identities.map((each) => [each.provider, each.user_id]),
        [['email', user.id]],
    )
})

test('sign-up that cannot be is refused', async () => {
    const client = connect()
    const ada = newcomer()
    await signUp(client, ada)
    await refused(client.auth.signUp(ada), 'user_already_exists', 422)
    const taken = client.auth.signUp({ ...newcomer(), options: { data: { username: 'ada' } } })
    assert.equal((await refused(taken, 'validation_failed', 422)).message, 'Username already taken')
    await refused(client.auth.signUp({ email: 'ada', password: 'correct horse' }), 'validation_failed')
    await tooWeak(client.auth.signUp({ ...newcomer(), password: 'short' }), 'length')
    await tooWeak(client.auth.signUp({ ...newcomer(), password: 'password1' }), 'characters')
})

test('a wrong password and an unknown address look alike', async () => {
    const client = connect()
    const ada = newcomer()
    await signUp(client, ada)
    const wrong = await refused(
        client.auth.signInWithPassword({ ...ada, password: 'wrong horse' }),
        'invalid_credentials',
    )
    const unknown = await refused(client.auth.signInWithPassword(newcomer()), 'invalid_credentials')
    assert.deepEqual(wrong.toJSON(), unknown.toJSON())
    assert.equal(wrong.message, 'Invalid login credentials')
    assert.equal((await signIn(client, ada)).user.email, ada.email)
})

test('nobody is signed in at first', async () => {
    const client = connect()
    assert.equal(accepted(await client.auth.getSession()).session, null)
    assert.equal(accepted(await client.auth.getClaims()), null)
    await missing(client.auth.getUser())
    await missing(client.auth.updateUser({ data: {} }))
    await missing(client.auth.refreshSession())
    await missing(client.auth.reauthenticate())
})

test('data is merged into the metadata', async () => {
    const client = connect()
    await signUp(client, newcomer(), { colour: 'red', size: 1 })
    const { user } = accepted(await client.auth.updateUser({ data: { colour: null, nick: 'zz' } }))
    assert.deepEqual(user.user_metadata, { size: 1, nick: 'zz' })
    assert.deepEqual(accepted(await client.auth.getSession()).session.user, user)
})

test('a new password ends the other sessions', async () => {
    const [client, elsewhere, ada] = [connect(), connect(), newcomer()]
    await signUp(client, ada)
    await signIn(elsewhere, ada)
    await refused(client.auth.updateUser({ password: ada.password }), 'same_password', 422)
    await tooWeak(client.auth.updateUser({ password: 'short' }), 'length')
    accepted(await client.auth.updateUser({ password: 'battery staple' }))
    accepted(await client.auth.getUser())
    const events = await noteEvents(elsewhere)
    await missing(elsewhere.auth.getUser())
    assert.deepEqual(events, ['SIGNED_OUT'])
    await refused(elsewhere.auth.signInWithPassword(ada), 'invalid_credentials')
    await signIn(elsewhere, { ...ada, password: 'battery staple' })
})

test('a new address counts at once without confirmation', async () => {
    const [client, ada, bob, address] = [connect(), newcomer(), newcomer(), newcomer().email]
    await signUp(connect(), bob)
    await signUp(client, ada)
    await refused(client.auth.updateUser({ email: bob.email }), 'email_exists', 422)
    const { user } = accepted(await client.auth.updateUser({ email: address }))
    assert.deepEqual([user.email, user.new_email], [address, undefined])
    await signIn(client, { ...ada, email: address })
})

test('events come in order', async () => {
    const client = connect()
    const ada = newcomer()
    const events = []
    const { data } = client.auth.onAuthStateChange((event) => events.push(event))
    await client.auth.initialize()
    await signUp(client, ada)
    await signIn(client, ada)
    accepted(await client.auth.refreshSession())
    accepted(await client.auth.updateUser({ data: { nick: 'zz' } }))
    assert.equal((await client.auth.signOut()).error, null)
    assert.deepEqual(events, [
        'INITIAL_SESSION',
        'SIGNED_IN',
        'SIGNED_IN',
        'TOKEN_REFRESHED',
        'USER_UPDATED',
        'SIGNED_OUT',
    ])
    data.subscription.unsubscribe()
    await signIn(client, ada)
    assert.equal(events.length, 6)
})

test('an anonymous user becomes one with an address', async () => {
    const client = connect()
    const ada = newcomer()
    const { user } = accepted(await client.auth.signInAnonymously({ options: { data: { colour: 'red' } } }))
    assert.deepEqual([user.is_anonymous, user.email, user.user_metadata], [true, '', { colour: 'red' }])
    const changed = accepted(await client.auth.updateUser(ada)).user
    assert.deepEqual([changed.id, changed.is_anonymous, changed.email], [user.id, false, ada.email])
    assert.equal((await signIn(client, ada)).user.id, user.id)
})

test('a wrong key opens nothing', async () => {
    for (const key of ['sb_publishable_wrong', 'sb_secret_wrong', 'wrong', 'a.b.c']) {
        const client = connect({ key })
        await refused(client.auth.signUp(newcomer()), 'no_authorization', 401)
        await refused(client.auth.signInWithPassword(newcomer()), 'no_authorization', 401)
    }
})
