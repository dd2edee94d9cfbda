// supabase-js: what the account API does not do, or not on this site, with the class and the code by which an
// application tells it apart. No method of the client is left out of these tests.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { before, test } from 'node:test'
import { AuthAdminApi, AuthClient } from '@supabase/supabase-js'
import { accepted, connect, newcomer, refused, service, signUp, sites } from '../accounts.js'
import { BROWSER, REFUSED } from '../refusals.js'

const PHONE = '+15550100'
const member = connect({ experimental: { recoveryCodes: true } })
const stranger = connect({ site: sites.strict })

before(() => signUp(member))

for (const [name, [call, code, status]] of Object.entries(REFUSED)) {
    test(`${name} is refused`, async () => {
        await refused(call(name.startsWith('admin.') ? service.auth : member.auth), code, status)
    })
}

test('phone numbers are refused', async () => {
    const credentials = { phone: PHONE, password: 'correct horse' }
    for (const call of [
        member.auth.signUp(credentials),
        member.auth.signInWithPassword(credentials),
        member.auth.signInWithOtp({ phone: PHONE }),
        member.auth.verifyOtp({ phone: PHONE, token: '123456', type: 'sms' }),
        member.auth.resend({ type: 'sms', phone: PHONE }),
        member.auth.updateUser({ phone: PHONE }),
    ]) {
        await refused(call, 'phone_provider_disabled')
    }
})

test('a strict site refuses', async () => {
    const { auth } = stranger
    const { email } = newcomer()
    await refused(auth.signUp(newcomer()), 'signup_disabled', 422)
    await refused(auth.signInAnonymously(), 'anonymous_provider_disabled', 422)
    await refused(auth.resetPasswordForEmail(email), 'email_provider_disabled')
    await refused(auth.signInWithOtp({ email }), 'email_provider_disabled')
    await refused(auth.resend({ type: 'signup', email }), 'email_provider_disabled')
})

test('an account is not tried without end', async () => {
    const ada = newcomer()
    accepted(await service.auth.admin.createUser({ ...ada, email_confirm: true }))
    const attempt = (password) => stranger.auth.signInWithPassword({ ...ada, password })
    for (let count = 0; count < 5; count += 1) await refused(attempt('wrong horse'), 'invalid_credentials')
    await refused(attempt(ada.password), 'over_request_rate_limit', 429)
})

test('another provider is refused where the browser is led', async () => {
    const { url } = accepted(await member.auth.signInWithOAuth({ provider: 'github' }))
    const answer = await fetch(url)
    assert.deepEqual([answer.status, (await answer.json()).error_code], [400, 'oauth_provider_not_supported'])
    const idToken = member.auth.linkIdentity({ provider: 'google', token: 'x' })
    await refused(idToken, 'provider_disabled')
})

test('nobody has a second factor', async () => {
    const factors = accepted(await member.auth.mfa.listFactors())
    assert.deepEqual([factors.all, factors.totp], [[], []])
})

test('an error is thrown to who asks for that', async () => {
    const client = connect({ throwOnError: true })
    assert.ok(client.auth.isThrowOnErrorEnabled())
    await assert.rejects(() => client.auth.signInWithPassword(newcomer()), { code: 'invalid_credentials' })
})

test('storage and functions are refused', async () => {
    const { error } = await member.storage.listBuckets()
    assert.deepEqual([error.name, error.status], ['StorageApiError', 404])
    const invoked = await member.functions.invoke('hello')
    assert.equal(invoked.error.name, 'FunctionsHttpError')
    assert.equal(invoked.error.context.status, 404)
})

test('every method is called', () => {
    const here = new URL('.', import.meta.url)
    const files = readdirSync(here).map((name) => new URL(name, here))
    const sources = [...files, new URL('../accounts.js', here), new URL('../refusals.js', here)]
        .map((file) => readFileSync(file, 'utf8'))
        .join('\n')
    const names = [...methods('', AuthClient.prototype), ...methods('admin.', AuthAdminApi.prototype)]
    for (const part of ['mfa', 'mfa.recoveryCodes', 'mfa.webauthn', 'oauth', 'passkey']) {
        names.push(...functions(`${part}.`, part.split('.').reduce((value, name) => value[name], member.auth)))
    }
    for (const part of ['mfa', 'oauth', 'customProviders', 'passkey']) {
        names.push(...functions(`admin.${part}.`, member.auth.admin[part]))
    }
    assert.ok(names.length > 80, names.join())
    assert.deepEqual(
        Object.keys(REFUSED).filter((name) => !names.includes(name)),
        [],
    )
    const isCalled = (name) => sources.includes(name.startsWith('admin.') ? `${name}(` : `auth.${name}(`)
    assert.deepEqual(
        names.filter((name) => !BROWSER.includes(name) && !isCalled(name)),
        [],
    )
})

// what the class keeps for itself
const INTERNAL = ['fetchJwk', 'linkIdentityIdToken', 'linkIdentityOAuth', 'signInWithEthereum', 'signInWithSolana']

function methods(prefix, prototype) {
    const kind = prototype.constructor.name === 'AuthClient' ? Object.getPrototypeOf(prototype) : prototype
    return Object.entries(Object.getOwnPropertyDescriptors(kind))
        .filter(([name, { value }]) => typeof value === 'function' && name !== 'constructor')
        .map(([name]) => name)
        .filter((name) => !name.startsWith('_') && !INTERNAL.includes(name))
        .map((name) => prefix + name)
}

function functions(prefix, part) {
    return Object.keys(part)
        .filter((name) => typeof part[name] === 'function')
        .map((name) => prefix + name)
}
