// The methods of supabase-js that are called to be refused, with what the server says and why; and those that ask it
// for nothing here.

import { randomUUID } from 'node:crypto'
import { newcomer } from './accounts.js'

const id = randomUUID()
const credential = { toJSON: () => ({}) } // of a browser
const NO_FACTOR = ['mfa_totp_enroll_not_enabled', 422, 'later: a second factor']
const NO_PASSKEY = ['passkey_disabled', 404, 'never']
const NO_FEATURE = ['feature_disabled', 404, 'never']

const WALLET = { chain: 'ethereum', message: 'Sign in', signature: '0x00' }
const PROVIDER = {
    provider_type: 'oauth2',
    identifier: 'custom:x',
    name: 'X',
    client_id: 'x',
    client_secret: 'x',
}
const CLIENT = { client_name: 'app', redirect_uris: ['https://app.example.org'] }

/** name: [call, code, status, why]. The calls of `admin` are made with the secret key, the others by a user. */
export const REFUSED = {
    signInWithIdToken: [
        (auth) => auth.signInWithIdToken({ provider: 'google', token: 'x' }),
        ...['provider_disabled', 400, 'later: other providers'],
    ],
    signInWithSSO: [(auth) => auth.signInWithSSO({ domain: 'example.org' }), 'saml_provider_disabled', 404, 'never'],
    signInWithWeb3: [(auth) => auth.signInWithWeb3(WALLET), 'web3_provider_disabled', 422, 'never'],
    linkIdentity: [(auth) => auth.linkIdentity({ provider: 'github' }), 'manual_linking_disabled', 404, 'never'],
    unlinkIdentity: [(auth) => auth.unlinkIdentity({ identity_id: id }), 'manual_linking_disabled', 404, 'never'],
    reauthenticate: [(auth) => auth.reauthenticate(), 'email_provider_disabled', 400, 'later: codes to confirm'],
    'admin.inviteUserByEmail': [
        (auth) => auth.admin.inviteUserByEmail(newcomer().email),
        ...['email_provider_disabled', 400, 'later: generateLink makes the link to send'],
    ],
    'mfa.enroll': [(auth) => auth.mfa.enroll({ factorType: 'totp' }), ...NO_FACTOR],
    'mfa.challenge': [(auth) => auth.mfa.challenge({ factorId: id }), ...NO_FACTOR],
    'mfa.verify': [(auth) => auth.mfa.verify({ factorId: id, challengeId: id, code: '123456' }), ...NO_FACTOR],
    'mfa.challengeAndVerify': [(auth) => auth.mfa.challengeAndVerify({ factorId: id, code: '123456' }), ...NO_FACTOR],
    'mfa.unenroll': [(auth) => auth.mfa.unenroll({ factorId: id }), ...NO_FACTOR],
    'mfa.recoveryCodes.getStatus': [(auth) => auth.mfa.recoveryCodes.getStatus(), ...NO_FACTOR],
    'mfa.recoveryCodes.generate': [(auth) => auth.mfa.recoveryCodes.generate(), ...NO_FACTOR],
    'mfa.recoveryCodes.verify': [(auth) => auth.mfa.recoveryCodes.verify({ code: '123456' }), ...NO_FACTOR],
    'mfa.recoveryCodes.regenerate': [(auth) => auth.mfa.recoveryCodes.regenerate(), ...NO_FACTOR],
    'mfa.recoveryCodes.unenroll': [(auth) => auth.mfa.recoveryCodes.unenroll(), ...NO_FACTOR],
    'mfa.webauthn.enroll': [(auth) => auth.mfa.webauthn.enroll({ friendlyName: 'key' }), ...NO_FACTOR],
    'mfa.webauthn.challenge': [
        (auth) => auth.mfa.webauthn.challenge({ factorId: id, webauthn: { rpId: 'example.org' } }),
        ...NO_FACTOR,
    ],
    'mfa.webauthn.verify': [
        (auth) =>
            auth.mfa.webauthn.verify({
                factorId: id,
                challengeId: id,
                webauthn: { type: 'create', rpId: 'example.org', credential_response: credential },
            }),
        ...NO_FACTOR,
    ],
    'oauth.getAuthorizationDetails': [(auth) => auth.oauth.getAuthorizationDetails(id), ...NO_FEATURE],
    'oauth.approveAuthorization': [(auth) => auth.oauth.approveAuthorization(id), ...NO_FEATURE],
    'oauth.denyAuthorization': [(auth) => auth.oauth.denyAuthorization(id), ...NO_FEATURE],
    'oauth.listGrants': [(auth) => auth.oauth.listGrants(), ...NO_FEATURE],
    'oauth.revokeGrant': [(auth) => auth.oauth.revokeGrant({ clientId: id }), ...NO_FEATURE],
    'passkey.startRegistration': [(auth) => auth.passkey.startRegistration(), ...NO_PASSKEY],
    'passkey.verifyRegistration': [
        (auth) => auth.passkey.verifyRegistration({ challengeId: id, credential }),
        ...NO_PASSKEY,
    ],
    'passkey.startAuthentication': [(auth) => auth.passkey.startAuthentication(), ...NO_PASSKEY],
    'passkey.verifyAuthentication': [
        (auth) => auth.passkey.verifyAuthentication({ challengeId: id, credential }),
        ...NO_PASSKEY,
    ],
    'passkey.list': [(auth) => auth.passkey.list(), ...NO_PASSKEY],
    'passkey.update': [(auth) => auth.passkey.update({ passkeyId: id, friendlyName: 'key' }), ...NO_PASSKEY],
    'passkey.delete': [(auth) => auth.passkey.delete({ passkeyId: id }), ...NO_PASSKEY],
    'admin.mfa.listFactors': [(auth) => auth.admin.mfa.listFactors({ userId: id }), ...NO_FACTOR],
    'admin.mfa.deleteFactor': [(auth) => auth.admin.mfa.deleteFactor({ userId: id, id }), ...NO_FACTOR],
    'admin.passkey.listPasskeys': [(auth) => auth.admin.passkey.listPasskeys({ userId: id }), ...NO_PASSKEY],
    'admin.passkey.deletePasskey': [
        (auth) => auth.admin.passkey.deletePasskey({ userId: id, passkeyId: id }),
        ...NO_PASSKEY,
    ],
    'admin.oauth.listClients': [(auth) => auth.admin.oauth.listClients(), ...NO_FEATURE],
    'admin.oauth.createClient': [(auth) => auth.admin.oauth.createClient(CLIENT), ...NO_FEATURE],
    'admin.oauth.getClient': [(auth) => auth.admin.oauth.getClient(id), ...NO_FEATURE],
    'admin.oauth.updateClient': [(auth) => auth.admin.oauth.updateClient(id, CLIENT), ...NO_FEATURE],
    'admin.oauth.deleteClient': [(auth) => auth.admin.oauth.deleteClient(id), ...NO_FEATURE],
    'admin.oauth.regenerateClientSecret': [(auth) => auth.admin.oauth.regenerateClientSecret(id), ...NO_FEATURE],
    'admin.customProviders.listProviders': [(auth) => auth.admin.customProviders.listProviders(), ...NO_FEATURE],
    'admin.customProviders.createProvider': [
        (auth) => auth.admin.customProviders.createProvider(PROVIDER),
        ...NO_FEATURE,
    ],
    'admin.customProviders.getProvider': [(auth) => auth.admin.customProviders.getProvider('custom:x'), ...NO_FEATURE],
    'admin.customProviders.updateProvider': [
        (auth) => auth.admin.customProviders.updateProvider('custom:x', PROVIDER),
        ...NO_FEATURE,
    ],
    'admin.customProviders.deleteProvider': [
        (auth) => auth.admin.customProviders.deleteProvider('custom:x'),
        ...NO_FEATURE,
    ],
}

/** They end in the client itself where there is no browser. */
export const BROWSER = ['registerPasskey', 'signInWithPasskey', 'mfa.webauthn.authenticate', 'mfa.webauthn.register']
