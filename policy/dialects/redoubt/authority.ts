/** `Mesh`: the certificate authority, and federation with other trust domains. */
import { z } from 'zod'

import { parseSpiffeId, parseTrustDomain, type TrustDomain } from '#ca/spiffe/index.ts'
import type {
  AuthorityIntent,
  FederationIntent,
  KeyStoreIntent,
} from '../../model/mesh-authority.ts'
import { durationFault, labelNameFault, parseDurationMs } from '../grammar.ts'
import { fields, type Report, text } from '../schema.ts'
import {
  checkShared,
  ledgerSchema,
  readLedger,
  replicasSchema,
  type WrittenLedger,
} from './ledger.ts'
import { filled, readSecret, secret, type WrittenSecret } from './secret.ts'

function parses(parse: (written: string) => unknown, expected: string): z.ZodString {
  return text((written) => {
    try {
      parse(written)
      return undefined
    } catch {
      return `found ${JSON.stringify(written)}, expected ${expected}`
    }
  })
}

const spiffeId = parses(parseSpiffeId, 'a SPIFFE ID')

const listenAddress = text((written) =>
  /^.+:\d{1,5}$/.test(written) ? undefined : `found ${JSON.stringify(written)}, expected host:port`,
)

const dnsName = text((written) =>
  written.length <= 253 &&
  written.split('.').every((label) => labelNameFault(label) === undefined) &&
  !/(?:^|\.)\d+$/.test(written)
    ? undefined
    : `found ${JSON.stringify(written)}, expected a DNS name in lower case`,
)

const keys = fields(
  {
    store: z.enum(['files', 'memory', 'pkcs11']),
    passphrase: secret.optional(),
    module: filled.optional(),
    token: filled.optional(),
    pin: secret.optional(),
  },
  { check: checkKeys },
)

type WrittenKeys = {
  readonly store: 'files' | 'memory' | 'pkcs11'
  readonly passphrase?: unknown
  readonly module?: unknown
  readonly token?: unknown
  readonly pin?: unknown
}

function checkKeys(written: WrittenKeys, report: Report): void {
  const { store, passphrase, module, token, pin } = written
  if (passphrase !== undefined && store !== 'files') {
    report(['passphrase'], `a store of ${store} has none`)
  }
  for (const [name, value] of Object.entries({ module, token, pin })) {
    if (store === 'pkcs11' && value === undefined) report([], `a store of pkcs11 needs ${name}`)
    if (store !== 'pkcs11' && value !== undefined) report([name], `a store of ${store} has none`)
  }
}

const agent = { agentId: filled, scope: z.array(filled).max(256) }

interface WrittenAgent {
  readonly agentId: string
  readonly scope: readonly string[]
}

/** The wire form that {@link authoritySchema} accepts. */
export interface WrittenAuthority {
  readonly replicas?: number | undefined
  readonly ledger?: WrittenLedger | undefined
  readonly keys?:
    | {
        readonly store: 'files' | 'memory' | 'pkcs11'
        readonly passphrase?: WrittenSecret | undefined
        readonly module?: string | undefined
        readonly token?: string | undefined
        readonly pin?: WrittenSecret | undefined
      }
    | undefined
  readonly listen?: string | undefined
  readonly serverNames?: readonly string[] | undefined
  readonly pluggedIn?: string | undefined
  readonly kubernetes?:
    | {
        readonly kubeconfig: string
        readonly audiences: readonly string[]
        readonly agents?:
          | readonly (WrittenAgent & {
              readonly namespace: string
              readonly serviceAccount: string
            })[]
          | undefined
      }
    | undefined
  readonly machines?:
    | readonly (WrittenAgent & { readonly rootsFile: string; readonly name: string })[]
    | undefined
}

/** `spec.certificateAuthority`. */
export const authoritySchema: z.ZodType<WrittenAuthority> = fields(
  {
    replicas: replicasSchema.optional(),
    ledger: ledgerSchema.optional(),
    keys: keys.optional(),
    listen: listenAddress.optional(),
    serverNames: z.array(dnsName).max(16).optional(),
    pluggedIn: filled.optional(),
    kubernetes: fields({
      kubeconfig: filled,
      audiences: z.array(filled).min(1).max(16),
      agents: z
        .array(fields({ namespace: filled, serviceAccount: filled, ...agent }))
        .max(64)
        .optional(),
    }).optional(),
    machines: z
      .array(fields({ rootsFile: filled, name: filled, ...agent }))
      .max(64)
      .optional(),
  },
  { check: checkShared },
)

const url = text((written) => {
  const found = URL.canParse(written) ? new URL(written) : undefined
  if (found?.protocol === 'https:' && found.username === '' && found.password === '')
    return undefined
  return `found ${JSON.stringify(written)}, expected an https URL without user information`
})

const foreign = fields(
  {
    name: parses(parseTrustDomain, 'a trust domain'),
    url,
    profile: z.enum(['https_web', 'https_spiffe']),
    rootsFile: filled.optional(),
    endpointSpiffeId: spiffeId.optional(),
    bootstrapFile: filled.optional(),
  },
  {
    check: ({ profile, rootsFile, endpointSpiffeId, bootstrapFile }, report) => {
      const isWeb = profile === 'https_web'
      if (!isWeb && endpointSpiffeId === undefined)
        report([], 'https_spiffe needs endpointSpiffeId')
      if (!isWeb && rootsFile !== undefined) report(['rootsFile'], 'https_spiffe has none')
      for (const [name, value] of Object.entries({ endpointSpiffeId, bootstrapFile })) {
        if (isWeb && value !== undefined) report([name], 'https_web has none')
      }
    },
  },
)

interface WrittenProfile {
  readonly rootsFile?: string | undefined
  readonly endpointSpiffeId?: string | undefined
  readonly bootstrapFile?: string | undefined
}

interface WrittenEndpoint {
  readonly listen: string
  readonly refreshHint?: string | undefined
  readonly certificateFile?: string | undefined
  readonly keyFile?: string | undefined
}

/** The wire form that {@link federationSchema} accepts. */
export interface WrittenFederation {
  readonly endpoint?: WrittenEndpoint | undefined
  readonly trustDomains?:
    | readonly (WrittenProfile & {
        readonly name: string
        readonly url: string
        readonly profile: 'https_web' | 'https_spiffe'
      })[]
    | undefined
}

/** `spec.federation`. */
export const federationSchema: z.ZodType<WrittenFederation> = fields(
  {
    endpoint: fields(
      {
        listen: listenAddress,
        refreshHint: text(durationFault).optional(),
        certificateFile: filled.optional(),
        keyFile: filled.optional(),
      },
      {
        check: ({ certificateFile, keyFile }, report) => {
          if ((certificateFile === undefined) !== (keyFile === undefined)) {
            report([], 'certificateFile and keyFile go together')
          }
        },
      },
    ).optional(),
    trustDomains: z.array(foreign).max(64).optional(),
  },
  {
    check: ({ trustDomains = [] }, report) => {
      const names = trustDomains.map(({ name }) => name)
      const twice = names.findIndex((name, at) => names.indexOf(name) !== at)
      if (twice >= 0) report(['trustDomains', twice, 'name'], 'it is there twice')
    },
  },
)

export function readAuthority(written: WrittenAuthority): AuthorityIntent {
  const { replicas, keys: store, listen, serverNames, pluggedIn, kubernetes, machines } = written
  const ledger = readLedger(written.ledger)
  return {
    ...(replicas !== undefined && { replicas }),
    ...(ledger && { ledger }),
    ...(store && { keys: readKeys(store) }),
    ...(listen !== undefined && { listen }),
    ...(serverNames && { serverNames }),
    ...(pluggedIn !== undefined && { pluggedIn }),
    ...(kubernetes && { kubernetes: { ...kubernetes, agents: kubernetes.agents ?? [] } }),
    ...(machines && { machines }),
  }
}

function readKeys(written: NonNullable<WrittenAuthority['keys']>): KeyStoreIntent {
  const { store: kind, passphrase, module = '', token = '', pin } = written
  if (kind === 'pkcs11') return { kind, module, token, pin: readSecret(pin) }
  if (kind === 'memory') return { kind }
  return { kind, ...(passphrase && { passphrase: readSecret(passphrase) }) }
}

export function readFederation(written: WrittenFederation): FederationIntent {
  const { endpoint, trustDomains = [] } = written
  return {
    ...(endpoint && { endpoint: readEndpoint(endpoint) }),
    trustDomains: trustDomains.map(({ name, url: at, profile, ...rest }) => ({
      name: name as TrustDomain,
      url: at,
      profile: readProfile(profile, rest),
    })),
  }
}

function readEndpoint(written: WrittenEndpoint): NonNullable<FederationIntent['endpoint']> {
  const { listen, refreshHint, certificateFile, keyFile } = written
  const hintMs = refreshHint === undefined ? undefined : parseDurationMs(refreshHint)
  return {
    listen,
    ...(hintMs !== undefined && { refreshHintSeconds: Math.max(1, Math.round(hintMs / 1000)) }),
    ...(certificateFile !== undefined &&
      keyFile !== undefined && { certificate: { certificateFile, keyFile } }),
  }
}

function readProfile(
  kind: 'https_web' | 'https_spiffe',
  written: WrittenProfile,
): FederationIntent['trustDomains'][number]['profile'] {
  const { rootsFile, endpointSpiffeId = '', bootstrapFile } = written
  if (kind === 'https_web') return { kind, ...(rootsFile !== undefined && { rootsFile }) }
  return { kind, endpointSpiffeId, ...(bootstrapFile !== undefined && { bootstrapFile }) }
}
