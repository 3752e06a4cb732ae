/** §2, §1.4, §1.9: what is known of a connection: how it is secured, from where it comes, in which trust domain. */
import { type Area, CALLER, PORT, resource } from './area.ts'

const MODES = ['UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT']
const OFFERED = [
  ...[['istio'], ['istio-http/1.1'], ['istio-http/1.0'], ['istio-h2'], ['istio-peer-exchange']],
  ...[['h2'], ['http/1.1'], [''], ['foo'], ['foo', 'istio']],
]
const DOMAINS = ['cluster.local', 'td2', 'old-td', 'td2.example', 'other']

export const peers: Area = {
  name: 'peers',
  draw(draw) {
    const mode = () => ({ mode: draw.pick(MODES) })
    const ports = Object.values(PORT).map(String)
    const authentications = draw.times(1, 4, () => {
      const isWide = draw.chance(0.5)
      const selector = { matchLabels: draw.pick([{ app: 'web' }, { ver: 'v1' }, { app: 'no' }]) }
      const portLevelMtls = Object.fromEntries(draw.some(ports, 1, 3).map((port) => [port, mode()]))
      return {
        ...(draw.chance(0.8) ? { mtls: mode() } : {}),
        ...(isWide ? {} : { selector, ...(draw.chance(0.7) ? { portLevelMtls } : {}) }),
      }
    })
    const aliases = draw.some(DOMAINS.slice(1, 4), 0, 2)
    const trusted = ['cluster.local', ...aliases]
    const written = () =>
      draw.pick([
        `${draw.pick(DOMAINS)}/ns/app/sa/cli`,
        ...['*/ns/app/sa/cli', 'td*/ns/app/sa/cli', '*-td/ns/app/sa/cli', 'td2/ns/app/*', 'td2*'],
        ...[
          '*/sa/cli',
          '*',
          'cluster.local/ns/app/sa/*',
          '*.local/ns/app/sa/cli',
          'c*/ns/app/sa/cli',
        ],
        ...[
          'cluster.local/*',
          '*cluster.local/ns/app/sa/cli',
          'old-td/ns/app/sa/cl*',
          'app/sa/cli',
        ],
      ])
    const domain = () =>
      draw.pick([...DOMAINS, 'td*', '*-td', '*', '*.example', 'cluster.*', '*d2'])
    const source = () =>
      draw.pick([
        () => ({ [draw.pick(['principals', 'notPrincipals'])]: draw.times(1, 2, written) }),
        () => ({ [draw.pick(['trustDomains', 'notTrustDomains'])]: draw.times(1, 2, domain) }),
        () => ({
          [draw.pick(['namespaces', 'notNamespaces'])]: [
            draw.pick(['app', 'a*', '*p', '*', 'a*p', 'other']),
          ],
        }),
        () => ({
          [draw.pick(['serviceAccounts', 'notServiceAccounts'])]: [
            draw.pick(['cli', 'app/cli', 'other/cli']),
          ],
        }),
      ])()
    const policies = draw.times(0, 2, () => ({
      action: draw.pick(['ALLOW', 'DENY']),
      rules: draw.times(1, 2, () => ({ from: draw.times(1, 2, () => ({ source: source() })) })),
    }))
    return {
      manifests: [
        ...authentications.map((spec, at) =>
          resource('PeerAuthentication', `m${at}`, spec, {
            namespace: draw.pick(['app', 'app', 'istio-system', 'other']),
            creationTimestamp: `2024-01-0${draw.int(1, 9)}T00:00:00Z`,
          }),
        ),
        ...policies.map((spec, at) => resource('AuthorizationPolicy', `p${at}`, spec)),
      ],
      mesh: aliases.length > 0 ? { trustDomainAliases: aliases } : {},
      request: () => {
        const port = draw.pick(Object.values(PORT))
        const domains = draw.chance(0.9) ? trusted : DOMAINS
        const id = `spiffe://${draw.pick(domains)}/ns/${draw.pick(['app', 'app', 'other', 'ap'])}/sa/${draw.pick(['cli', 'cli', 'cl'])}`
        const from = draw.pick([id, id, id, id, 'none', 'none', 'nocert', `badca:${CALLER}`])
        const protocol = draw.pick(['http/1.1', 'tcp', 'h2', 'grpc'] as const)
        const alpn = from !== 'none' && draw.chance(0.4) ? { alpn: draw.pick(OFFERED) } : {}
        return { from, port, protocol, path: '/a', ...alpn }
      },
    }
  },
}

const BLOCKS = [
  ...[
    '127.0.0.0/8',
    '127.20.0.0/16',
    '127.20.1.5',
    '127.20.1.5/32',
    '127.20.1.4/31',
    '127.20.1.5/24',
  ],
  ...[
    '0.0.0.0/0',
    '::/0',
    '::1',
    '::1/128',
    '::ffff:127.20.1.5',
    '::ffff:127.0.0.0/104',
    '::ffff:0:0/96',
  ],
  ...[
    '2001:db8::/32',
    '2001:DB8::1',
    '2001:db8:0:0::1/64',
    '10.0.0.0/8',
    '10.9.1.1',
    '192.0.2.0/24',
    'fe80::1',
  ],
]
const FORWARDED = [
  ...[
    '10.9.1.1',
    '10.9.1.1, 192.0.2.7',
    '192.0.2.7,10.9.1.1',
    '10.9.1.1,',
    ',10.9.1.1',
    ' 10.9.1.1 ',
  ],
  ...[
    '10.9.1.1:1234',
    '2001:db8::1',
    '[2001:db8::1]',
    '[2001:db8::1]:80',
    '::ffff:10.9.1.1',
    'unknown',
  ],
  ...[
    '10.9.1.1, unknown',
    '',
    '127.20.1.5',
    '2001:db8::2, 10.9.1.1',
    '010.9.1.1',
    '10.9.1',
    '10.9.1.1 x',
  ],
  ...['::', '0.0.0.0', '10.9.1.1\t', '2001:DB8:0::1', 'fe80::1', 'fe80::1%eth0'],
]

export const addresses: Area = {
  name: 'addresses',
  draw(draw) {
    const blocks = () => draw.some(BLOCKS, 1, 2)
    const source = () => {
      const name = draw.pick(['ipBlocks', 'notIpBlocks', 'remoteIpBlocks', 'notRemoteIpBlocks'])
      return { source: { [name]: blocks() } }
    }
    const condition = () => {
      const key = draw.pick(['source.ip', 'remote.ip', 'destination.ip'])
      const values =
        key === 'destination.ip' && draw.chance(0.5) ? ['127.64.0.0/10', '127.64.0.0/16'] : blocks()
      return { key, [draw.chance(0.75) ? 'values' : 'notValues']: values }
    }
    const policies = draw.times(1, 2, () => ({
      action: draw.pick(['ALLOW', 'DENY']),
      rules: draw.times(1, 2, () =>
        draw.chance(0.7)
          ? { from: draw.times(1, 2, source) }
          : { when: draw.times(1, 2, condition) },
      ),
    }))
    return {
      manifests: policies.map((spec, at) => resource('AuthorizationPolicy', `a${at}`, spec)),
      request: () => ({
        from: draw.pick([CALLER, CALLER, 'none']),
        ...draw.pick([
          { port: PORT.http, protocol: 'http/1.1' },
          { port: PORT.http, protocol: 'http/1.1' },
          { port: PORT.http, protocol: 'h2' },
          { port: PORT.grpc, protocol: 'h2' },
          { port: PORT.auto, protocol: 'http/1.1' },
          { port: PORT.tcp, protocol: 'tcp' },
        ] as const),
        srcIp: draw.pick(['127.0.0.1', '127.20.1.5', '127.20.1.4', '127.20.2.9', '127.21.0.1']),
        path: '/a',
        headers: draw.times(0, 2, (): [string, string] => [
          'x-forwarded-for',
          draw.pick(FORWARDED),
        ]),
      }),
    }
  },
}
