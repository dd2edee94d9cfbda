// supabase-js: links and codes by mail, and the codes of PKCE.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { accepted, at, connect, followed, mail, newcomer, noteEvents, refused, signIn, signUp, sites, WELCOME } from '../accounts.js'

async function known() {
    const person = newcomer()
    await signUp(connect(), person)
    return person
}

const confirming = (options) => connect({ site: sites.confirming, ...options })

test('a link signs in to set a new password', async () => {
    const [client, ada] = [connect(), await known()]
    assert.deepEqual(accepted(await client.auth.resetPasswordForEmail(ada.email, { redirectTo: WELCOME })), {})
    const location = await followed((await mail(ada.email)).link)
    assert.equal(location.origin + location.pathname, WELCOME)
    const fields = Object.fromEntries(new URLSearchParams(location.hash.slice(1)))
    assert.deepEqual([fields.type, fields.token_type, fields.expires_in], ['recovery', 'bearer', '3600'])
    accepted(await client.auth.setSession(fields))
    accepted(await client.auth.updateUser({ password: 'battery staple' }))
    await signIn(client, { ...ada, password: 'battery staple' })
})

test('a link leads to a code for PKCE', async () => {
    const [client, ada] = [connect({ flowType: 'pkce' }), await known()]
    accepted(await client.auth.resetPasswordForEmail(ada.email, { redirectTo: `${WELCOME}?from=mail` }))
    const { searchParams } = await followed((await mail(ada.email)).link)
    assert.equal(searchParams.get('from'), 'mail')
    const events = await noteEvents(client)
    const { user, redirectType } = accepted(await client.auth.exchangeCodeForSession(searchParams.get('code')))
    assert.deepEqual([user.email, redirectType, events], [ada.email, 'recovery', ['PASSWORD_RECOVERY']])
})

test('a code of PKCE is refused to who has not asked for it', async () => {
    const [client, thief, ada] = [connect({ flowType: 'pkce' }), connect({ flowType: 'pkce' }), await known()]
    accepted(await client.auth.signInWithOtp({ email: ada.email, options: { emailRedirectTo: WELCOME } }))
    const code = (await followed((await mail(ada.email)).link)).searchParams.get('code')
    accepted(await thief.auth.signInWithOtp({ email: newcomer().email }))
    await refused(thief.auth.exchangeCodeForSession(code), 'bad_code_verifier')
    await thief.auth.signInWithOtp({ email: newcomer().email })
    await refused(thief.auth.exchangeCodeForSession('nonsense'), 'flow_state_not_found', 404)
    accepted(await client.auth.exchangeCodeForSession(code))
})

test('the token of a link is verified by the application, once', async () => {
    const [client, ada] = [connect(), await known()]
    accepted(await client.auth.resetPasswordForEmail(ada.email))
    const { token } = await mail(ada.email)
    const events = await noteEvents(client)
    const { user } = accepted(await client.auth.verifyOtp({ type: 'recovery', token_hash: token }))
    assert.deepEqual([user.email, events], [ada.email, ['PASSWORD_RECOVERY']])
    await refused(client.auth.verifyOtp({ type: 'recovery', token_hash: token }), 'otp_expired', 403)
})

test('links and digits grow old', async () => {
    const [client, ada] = [connect(), await known()]
    accepted(await client.auth.resetPasswordForEmail(ada.email))
    const { code, token } = await mail(ada.email)
    await at(3660, () =>
        refused(client.auth.verifyOtp({ type: 'recovery', email: ada.email, token: code }), 'otp_expired', 403),
    )
    await at(86_460, () =>
        refused(client.auth.verifyOtp({ type: 'recovery', token_hash: token }), 'otp_expired', 403),
    )
})

test('a mail signs in, and makes a user of who is unknown', async () => {
    const client = connect()
    const { email } = newcomer()
    const nobody = client.auth.signInWithOtp({ email, options: { shouldCreateUser: false } })
    await refused(nobody, 'otp_disabled', 422)
    accepted(await client.auth.signInWithOtp({ email, options: { data: { nick: 'zz' } } }))
    const first = accepted(await client.auth.verifyOtp({ type: 'email', email, token: (await mail(email)).code }))
    assert.deepEqual([first.user.email, first.user.user_metadata], [email, { nick: 'zz' }])
    accepted(await client.auth.signInWithOtp({ email, options: { shouldCreateUser: false } }))
    const again = accepted(await client.auth.verifyOtp({ type: 'email', email, token: (await mail(email)).code }))
    assert.equal(again.user.id, first.user.id)
})

test('a new user confirms the address first', async () => {
    const [client, bob] = [confirming(), newcomer()]
    const made = accepted(await client.auth.signUp(bob))
    assert.deepEqual([made.session, made.user.email, made.user.email_confirmed_at], [null, bob.email, undefined])
    await refused(client.auth.signInWithPassword(bob), 'email_not_confirmed')
    await mail(bob.email)
    accepted(await client.auth.resend({ type: 'signup', email: bob.email }))
    const { code } = await mail(bob.email)
    const { user } = accepted(await client.auth.verifyOtp({ type: 'signup', email: bob.email, token: code }))
    assert.equal(user.id, made.user.id)
    await signIn(client, bob)
})

test('a known address is not told to who signs up', async () => {
    const [client, bob] = [confirming(), newcomer()]
    const { user } = accepted(await client.auth.signUp(bob))
    accepted(await client.auth.verifyOtp({ type: 'signup', token_hash: (await mail(bob.email)).token }))
    const fake = accepted(await client.auth.signUp({ ...bob, password: 'another horse' }))
    assert.deepEqual([fake.session, fake.user.email, fake.user.identities], [null, bob.email, []])
    assert.notEqual(fake.user.id, user.id)
})

test('a new address counts when it is confirmed', async () => {
    const [client, bob, address] = [confirming({ flowType: 'pkce' }), newcomer(), newcomer().email]
    accepted(await client.auth.signUp({ ...bob, options: { emailRedirectTo: WELCOME } }))
    const welcome = await followed((await mail(bob.email)).link)
    accepted(await client.auth.exchangeCodeForSession(welcome.searchParams.get('code')))
    const { user } = accepted(await client.auth.updateUser({ email: address }, { emailRedirectTo: WELCOME }))
    assert.deepEqual([user.email, user.new_email], [bob.email, address])
    const location = await followed((await mail(address)).link)
    const changed = accepted(await client.auth.exchangeCodeForSession(location.searchParams.get('code')))
    assert.equal(changed.user.email, address)
})
