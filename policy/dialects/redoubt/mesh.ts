/** Kind `Mesh`: mesh-wide settings in the words of Istio's MeshConfig (design.md §2, istio-semantics §11.3). */
import { X509Certificate } from 'node:crypto'

import { z } from 'zod'

import { parseTrustDomain, type TrustDomain } from '#ca/spiffe/index.ts'
import { readBlock } from '../../model/address.ts'
import type { CertificateLives, Mesh } from '../../model/intent.ts'
import { durationFault, labelNameFault, parseDurationMs } from '../grammar.ts'
import {
  checkProviders,
  extensionProvidersSchema,
  readProviders,
  warnProviders,
} from '../istio/extension-providers.ts'
import { retriesSchema, readRetries } from '../istio/retries.ts'
import { defineKind, type Kind } from '../kind.ts'
import { fields, type Report, text } from '../schema.ts'
import { authoritySchema, federationSchema, readAuthority, readFederation } from './authority.ts'

const trustDomain = text((written) => {
  try {
    parseTrustDomain(written)
    return undefined
  } catch {
    return `found ${JSON.stringify(written)}, expected a trust domain: 1 to 255 characters of [a-z0-9._-]`
  }
})

const duration = text(durationFault).optional()

const cidr = text((written) =>
  readBlock(written)
    ? undefined
    : `found ${JSON.stringify(written)}, expected an IP address or a CIDR block such as 10.0.0.0/8`,
)

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** A private key beside them would be in everybody's manifests. */
function certificatesFault(written: string): string | undefined {
  const expected = 'expected certificates in PEM, and nothing else'
  const found = written.match(CERTIFICATE) ?? []
  if (written.replace(CERTIFICATE, '').includes('-----BEGIN ')) {
    return `found something beside certificates, ${expected}`
  }
  const unreadable = found.findIndex((pem) => !isReadable(pem))
  if (unreadable !== -1) return `its certificate ${unreadable + 1} cannot be read, ${expected}`
  return found.length > 0 ? undefined : `found no certificate, ${expected}`
}

function isReadable(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0
  } catch {
    return false
  }
}

/** Where the identity provider of a mesh on one machine is. */
const LOOPBACK = ['127.0.0.0/8', '::1']

const certificates = fields({
  leafTtl: duration,
  maxLeafTtl: duration,
  caTtl: duration,
  rootTtl: duration,
})

const spec = fields(
  {
    trustDomain: trustDomain.optional(),
    trustDomainAliases: z.array(trustDomain).max(64).optional(),
    rootNamespace: text(labelNameFault).optional(),
    certificates: certificates.optional(),
    certificateAuthority: authoritySchema.optional(),
    federation: federationSchema.optional(),
    outboundTrafficPolicy: fields({
      mode: z.enum(['ALLOW_ANY', 'REGISTRY_ONLY']).optional(),
    }).optional(),
    pathNormalization: fields({
      normalization: z
        .enum(['DEFAULT', 'NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'])
        .optional(),
    }).optional(),
    enableAutoMtls: z.boolean().optional(),
    /** Not set: only refusals are logged. Standalone, a sidecar's standard output is `redoubt logs`. */
    accessLogFile: z.enum(['', '/dev/stdout']).optional(),
    /** Where keys may be fetched from beside public addresses; a list takes the place of the default. */
    jwks: fields({
      allowedCidrs: z.array(cidr).max(64).optional(),
      caCertificates: text(certificatesFault).optional(),
    }).optional(),
    connectTimeout: duration,
    defaultHttpRetryPolicy: retriesSchema.optional(),
    extensionProviders: extensionProvidersSchema.optional(),
    /** istiod's PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS, which is no field of MeshConfig. */
    enableMultipleCustomAuthzProviders: z.boolean().optional(),
  },
  {
    notHonoured: ['defaultConfig', 'localityLbSetting', 'meshMTLS'],
    check: ({ certificates: lives = {}, extensionProviders = [] }, report) => {
      checkLives(lives, report)
      checkProviders(extensionProviders, report)
    },
  },
)

const DEFAULT_LIVES_MS = {
  leafTtl: 3_600_000,
  maxLeafTtl: 86_400_000,
  caTtl: 90 * 86_400_000,
  rootTtl: 3650 * 86_400_000,
}

function livesMs(written: z.output<typeof certificates>): typeof DEFAULT_LIVES_MS {
  const ms = (name: keyof typeof DEFAULT_LIVES_MS): number =>
    parseDurationMs(written[name] ?? '') ?? DEFAULT_LIVES_MS[name]
  const leafTtl = ms('leafTtl')
  // A shorter or longer leaf moves the limit that was not written along with it.
  const maxLeafTtl = written.maxLeafTtl
    ? ms('maxLeafTtl')
    : Math.max(DEFAULT_LIVES_MS.maxLeafTtl, leafTtl)
  return { leafTtl, maxLeafTtl, caTtl: ms('caTtl'), rootTtl: ms('rootTtl') }
}

/** The CA refuses the same (design.md §2); an operator hears of it here, with the line. */
function checkLives(written: z.output<typeof certificates>, report: Report): void {
  const { leafTtl, maxLeafTtl, caTtl, rootTtl } = livesMs(written)
  const at = (name: string): readonly string[] => ['certificates', name]
  if (leafTtl < 1000) report(at('leafTtl'), 'it is under 1s')
  if (leafTtl > maxLeafTtl) report(at('leafTtl'), 'it is longer than maxLeafTtl')
  if (caTtl < 6 * leafTtl) report(at('caTtl'), 'it is shorter than 6 times leafTtl')
  if (caTtl < 30_000) report(at('caTtl'), 'it is under 30s')
  if (rootTtl < caTtl) report(at('rootTtl'), 'it is shorter than caTtl')
}

function readLives(written: z.output<typeof certificates>): CertificateLives {
  const lives = livesMs(written)
  const life = (milliseconds: number): Temporal.Duration =>
    Temporal.Duration.from({ milliseconds }).round({ largestUnit: 'hours' })
  return {
    leafTtl: life(lives.leafTtl),
    maxLeafTtl: life(lives.maxLeafTtl),
    caTtl: life(lives.caTtl),
    rootTtl: life(lives.rootTtl),
  }
}

function readJwks({
  allowedCidrs = LOOPBACK,
  caCertificates,
}: NonNullable<z.output<typeof spec>['jwks']>): Mesh['jwks'] {
  return { allowedCidrs, ...(caCertificates && { caCertificates }) }
}

function readMesh(written: z.output<typeof spec>): Mesh {
  const normalization = written.pathNormalization?.normalization ?? 'DEFAULT'
  return {
    trustDomain: (written.trustDomain ?? 'cluster.local') as TrustDomain,
    trustDomainAliases: (written.trustDomainAliases ?? []) as TrustDomain[],
    rootNamespace: written.rootNamespace ?? 'istio-system',
    certificates: readLives(written.certificates ?? {}),
    ...(written.certificateAuthority && {
      certificateAuthority: readAuthority(written.certificateAuthority),
    }),
    ...(written.federation && { federation: readFederation(written.federation) }),
    outboundPolicy: written.outboundTrafficPolicy?.mode ?? 'ALLOW_ANY',
    pathNormalization: normalization === 'DEFAULT' ? 'BASE' : normalization,
    accessLog: written.accessLogFile === '/dev/stdout' ? 'all' : 'refusals',
    autoMtls: written.enableAutoMtls ?? true,
    jwks: readJwks(written.jwks ?? {}),
    connectTimeoutMs: parseDurationMs(written.connectTimeout ?? '10s') ?? 10_000,
    ...(written.defaultHttpRetryPolicy
      ? { defaultRetry: readRetries(written.defaultHttpRetryPolicy) }
      : {}),
    ...(written.extensionProviders
      ? { extensionProviders: readProviders(written.extensionProviders) }
      : {}),
    severalProviders: written.enableMultipleCustomAuthzProviders ?? false,
  }
}

/** What holds in a mesh whose manifests have no `Mesh`. */
export const DEFAULT_MESH: Mesh = readMesh({})

export const meshKind: Kind = defineKind({
  group: 'redoubt.io',
  versions: ['v1alpha1'],
  kind: 'Mesh',
  scope: 'cluster',
  spec: spec.optional(),
  warn: ({ spec: { extensionProviders = [] } = {} }) =>
    warnProviders(extensionProviders).map(({ path, message }) => ({
      path: ['spec', ...path],
      message,
    })),
  place: ({ spec: written = {} }) => ({ into: 'mesh', value: readMesh(written) }),
})
