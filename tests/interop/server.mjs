// An authorization server of somebody else's, on any free port of this machine. It writes its issuer and serves until its
// standard input ends. Access tokens last a minute, refresh tokens rotate, and anyone may register.
import { createServer } from 'node:http'
import Provider from 'oidc-provider'

const server = createServer().listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`
  const provider = new Provider(issuer, {
    scopes: ['offline_access', 'api:read'],
    ttl: { AccessToken: 60 },
    rotateRefreshToken: true,
    pkce: { required: () => true },
    features: { registration: { enabled: true }, devInteractions: { enabled: true } },
    cookies: { keys: ['tests alone'] },
  })
  server.on('request', provider.callback())
  console.log(issuer)
})
process.stdin.resume().on('end', () => process.exit(0))
