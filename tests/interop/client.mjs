// A strict client of somebody else's, at the address, with the id and secret that it is given. It writes the address to
// send the person to, reads the one that they came back to, and writes what it was granted.
import { createInterface } from 'node:readline/promises'
import * as oauth from 'oauth4webapi'

const [issuer, client_id, secret, redirect_uri, method] = process.argv.slice(2)
const insecure = { [oauth.allowInsecureRequests]: true } // the sandbox speaks http, on this machine alone
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const say = (value) => console.log(JSON.stringify(value))

const discovered = await oauth.discoveryRequest(new URL(issuer), { algorithm: 'oauth2', ...insecure })
const as = await oauth.processDiscoveryResponse(new URL(issuer), discovered)
const resource = await oauth.processResourceDiscoveryResponse(
  new URL(issuer), await oauth.resourceDiscoveryRequest(new URL(issuer), insecure),
)

const metadata = { redirect_uris: [redirect_uri], client_name: 'oauth4webapi', token_endpoint_auth_method: 'none' }
const registered = await oauth.processDynamicClientRegistrationResponse(
  await oauth.dynamicClientRegistrationRequest(as, metadata, insecure),
)

const client = { client_id }
const auth = method === 'post' ? oauth.ClientSecretPost(secret) : oauth.ClientSecretBasic(secret)
const verifier = oauth.generateRandomCodeVerifier()
const state = oauth.generateRandomState()
const url = new URL(as.authorization_endpoint)
url.search = new URLSearchParams({
  client_id, redirect_uri, state, response_type: 'code', scope: 'numbers.read fax.read',
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
})
say({ url: url.href })
const callback = oauth.validateAuthResponse(as, client, new URL((await lines.next()).value), state)

const granted = await oauth.processAuthorizationCodeResponse(
  as, client, await oauth.authorizationCodeGrantRequest(as, client, auth, callback, redirect_uri, verifier, insecure),
)
const refreshed = await oauth.processRefreshTokenResponse(
  as, client, await oauth.refreshTokenGrantRequest(as, client, auth, granted.refresh_token, insecure),
)
const own = await oauth.processClientCredentialsResponse(
  as, client, await oauth.clientCredentialsGrantRequest(as, client, auth, { scope: 'fax.read' }, insecure),
)
const introspect = async (token) => oauth.processIntrospectionResponse(
  as, client, await oauth.introspectionRequest(as, client, auth, token, insecure),
)
const presented = new Request('https://api.example/', { headers: { Authorization: `Bearer ${refreshed.access_token}` } })
const claims = await oauth.validateJwtAccessToken(as, presented, issuer, insecure)
const refusal = await oauth.processRefreshTokenResponse(
  as, client, await oauth.refreshTokenGrantRequest(as, client, auth, 'no-such-token', insecure),
).catch((error) => error)

say({
  registered: Boolean(registered.client_id),
  resource: resource.resource,
  granted: granted.scope,
  rotated: granted.refresh_token !== refreshed.refresh_token,
  refreshed: refreshed.scope,
  own: own.scope,
  active: (await introspect(own.access_token)).active,
  inactive: (await introspect('no-such-token')).active,
  subject: claims.sub,
  refusal: refusal.error,
})
process.exit(0)
