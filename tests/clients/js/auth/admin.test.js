// supabase-js: users made, listed, changed, banned and deleted with the secret key, and links to hand out.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { accepted, connect, followed, missing, newcomer, refused, service, signIn, signUp, sites, tooWeak, WELCOME } from '../accounts.js'

const create = async (person, more = {}) =>
    accepted(await service.auth.admin.createUser({ ...person, email_confirm: true, ...more })).user

test('an admin makes a user', async () => {
    const [ada, id] = [newcomer(), randomUUID()]
    const user = await create(ada, { id, user_metadata: { colour: 'red' }, app_metadata: { plan: 'pro' } })
    assert.deepEqual([user.id, user.user_metadata.colour, user.app_metadata.plan], [id, 'red', 'pro'])
    assert.deepEqual(accepted(await service.auth.admin.getUserById(id)).user, user)
    assert.equal((await signIn(connect(), ada)).user.id, id)
    await refused(service.auth.admin.createUser(ada), 'email_exists', 422)
    await tooWeak(service.auth.admin.createUser({ ...newcomer(), password: 'short' }), 'length')
})

test('users are listed by pages', async () => {
    const everybody = accepted(await service.auth.admin.listUsers({ page: 1, perPage: 1000 }))
    assert.deepEqual([everybody.nextPage, everybody.lastPage, everybody.aud], [null, 1, 'authenticated'])
    assert.equal(everybody.total, everybody.users.length)
    const size = Math.ceil(everybody.total / 3)
    const ids = []
    for (let page = 1; page; ) {
        const found = accepted(await service.auth.admin.listUsers({ page, perPage: size }))
        ids.push(...found.users.map((user) => user.id))
        assert.deepEqual([found.lastPage, found.total], [3, everybody.total])
        page = found.nextPage
    }
    assert.deepEqual(
        ids,
        everybody.users.map((user) => user.id),
    )
    assert.ok(accepted(await service.auth.admin.listUsers()).users.length)
})

test('an admin changes a user', async () => {
    const [client, ada] = [connect(), newcomer()]
    const { id } = await create(ada, { user_metadata: { size: 1 } })
    await signIn(client, ada)
    const attributes = { user_metadata: { colour: 'red' }, password: 'battery staple' }
    const { user } = accepted(await service.auth.admin.updateUserById(id, attributes))
    assert.deepEqual(user.user_metadata, { size: 1, colour: 'red' })
    await missing(client.auth.getUser())
    await signIn(client, { ...ada, password: 'battery staple' })
})

test('a ban keeps a user out until it is lifted', async () => {
    const [client, ada] = [connect(), newcomer()]
    const { id } = await create(ada)
    await signIn(client, ada)
    const { user } = accepted(await service.auth.admin.updateUserById(id, { ban_duration: '24h' }))
    assert.ok(new Date(user.banned_until) > new Date())
    await refused(client.auth.getUser(), 'user_banned', 403)
    await refused(client.auth.refreshSession(), 'user_banned')
    await refused(client.auth.signInWithPassword(ada), 'user_banned')
    const lifted = accepted(await service.auth.admin.updateUserById(id, { ban_duration: 'none' })).user
    assert.equal(lifted.banned_until, undefined)
    await signIn(client, ada)
    await refused(service.auth.admin.updateUserById(id, { ban_duration: 'for ever' }), 'validation_failed')
})

for (const soft of [false, true]) {
    test(`a deleted user is gone${soft ? ', softly' : ''}`, async () => {
        const [client, ada] = [connect(), newcomer()]
        const { user } = await signUp(client, ada)
        assert.equal(accepted(await service.auth.admin.deleteUser(user.id, soft)).user.id, user.id)
        await refused(service.auth.admin.getUserById(user.id), 'user_not_found', 404)
        await refused(service.auth.admin.deleteUser(user.id), 'user_not_found', 404)
        await refused(client.auth.getUser(), 'user_not_found', 403)
        await refused(client.auth.signInWithPassword(ada), 'invalid_credentials')
    })
}

test('an admin ends sessions by their token', async () => {
    const client = connect()
    const { access_token } = await signUp(client)
    accepted(await service.auth.admin.signOut(access_token, 'local'))
    await missing(client.auth.getUser())
    await missing(service.auth.admin.signOut(access_token))
})

test('the publishable key is no admin', async () => {
    const { admin } = connect().auth
    const id = randomUUID()
    for (const call of [
        admin.createUser(newcomer()),
        admin.listUsers(),
        admin.getUserById(id),
        admin.updateUserById(id, { ban_duration: 'none' }),
        admin.deleteUser(id),
        admin.generateLink({ type: 'magiclink', email: newcomer().email }),
    ]) {
        await refused(call, 'not_admin', 403)
    }
    await refused(service.auth.admin.getUserById(id), 'user_not_found', 404)
    await assert.rejects(() => service.auth.admin.getUserById('1'), /Expected parameter to be UUID/)
})

test('a recovery link needs no mail', async () => {
    const site = sites.strict
    const [admin, client, ada] = [connect({ site, key: site.secret }).auth.admin, connect({ site }), newcomer()]
    const { id } = await create(ada)
    const { properties, user } = accepted(await admin.generateLink({ type: 'recovery', email: ada.email }))
    assert.deepEqual([user.id, properties.verification_type, properties.redirect_to], [id, 'recovery', site.url])
    assert.ok(properties.action_link.startsWith(`${site.url}/auth/v1/verify?`))
    accepted(await client.auth.verifyOtp({ type: 'recovery', token_hash: properties.hashed_token }))
    accepted(await client.auth.updateUser({ password: 'battery staple' }))
    await signIn(client, { ...ada, password: 'battery staple' })
    await refused(admin.generateLink({ type: 'recovery', email: newcomer().email }), 'user_not_found', 404)
})

test('links sign up and in', async () => {
    const [client, ada] = [connect(), newcomer()]
    const options = { data: { colour: 'red' }, redirectTo: WELCOME }
    const made = accepted(await service.auth.admin.generateLink({ type: 'signup', ...ada, options }))
    assert.deepEqual([made.user.user_metadata.colour, made.user.email_confirmed_at], ['red', undefined])
    const location = await followed(made.properties.action_link)
    assert.ok(location.href.startsWith(`${WELCOME}#access_token=`))
    await signIn(client, ada)
    const magic = accepted(await service.auth.admin.generateLink({ type: 'magiclink', email: ada.email, options }))
    const { email_otp: token } = magic.properties
    const { user } = accepted(await client.auth.verifyOtp({ type: 'magiclink', email: ada.email, token }))
    assert.equal(user.id, made.user.id)
    await refused(service.auth.admin.generateLink({ type: 'signup', ...ada }), 'email_exists', 422)
})

test('a link changes the address', async () => {
    const [client, ada, newEmail] = [connect(), newcomer(), newcomer().email]
    await signUp(client, ada)
    const { admin } = service.auth
    const { properties } = accepted(
        await admin.generateLink({ type: 'email_change_new', email: ada.email, newEmail }),
    )
    const answer = await client.auth.verifyOtp({ type: 'email_change', token_hash: properties.hashed_token })
    assert.equal(accepted(answer).user.email, newEmail)
})
