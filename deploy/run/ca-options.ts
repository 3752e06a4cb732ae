/** What the CA's process was configured with, as `openCa` takes it: files read, clusters joined. */
import { readFile } from 'node:fs/promises'

import type { CaConfig, CertificateRule } from '#ca/index.ts'
import { relationshipFaults, type Relationship } from '#ca/index.ts'
import { parseSpiffeId, parseTrustDomain } from '#ca/spiffe/index.ts'
import { derFromPem } from '#ca/x509/index.ts'
import type { TokenReview, TokenReviewDeps } from '../kubernetes/token-review.ts'
import { parseAddress } from '../standalone/address.ts'
import type { CaAuthority, CaProcessConfig, FederatedDomain } from '../standalone/messages.ts'

type Options = Pick<CaConfig, 'keys' | 'serverNames' | 'pluggedIn' | 'attestation' | 'federation'>

/** The optional part of a CA's configuration. Rejects, naming the file, if one cannot be read. */
export async function caOptions(config: CaProcessConfig): Promise<Options> {
  const { keys, serverNames, pluggedIn, kubernetes, machines } = config.authority
  const certificates = await Promise.all(machines.map(machineRule))
  const trustDomains = await relationshipsOf(config.federated, config.trustDomain)
  return {
    ...(keys && { keys }),
    ...(serverNames && { serverNames }),
    ...(pluggedIn !== undefined && { pluggedIn }),
    attestation: {
      ...(certificates.length > 0 && { certificates }),
      ...(kubernetes && { kubernetes }),
    },
    federation: { trustDomains, ...endpointOf(config.authority) },
  }
}

/** The cluster that the CA was told of, to be asked; the client of Kubernetes is loaded by nobody else. */
export async function tokenReviewOf(
  { authority: { kubernetes } }: CaProcessConfig,
  deps: TokenReviewDeps,
): Promise<TokenReview | undefined> {
  if (!kubernetes) return undefined
  const { createTokenReview } = await import('../kubernetes/token-review.ts')
  return createTokenReview(kubernetes.kubeconfig, deps)
}

/** The trust domains of a call or a configuration, with what is in their files. */
export async function relationshipsOf(
  domains: readonly FederatedDomain[],
  own: string,
): Promise<readonly Relationship[]> {
  const read = await Promise.all(domains.map(relationshipOf))
  const [fault] = relationshipFaults(read, parseTrustDomain(own))
  if (fault !== undefined) throw new Error(`Cannot federate: ${fault}`)
  return read
}

async function relationshipOf({
  trustDomain,
  url,
  profile,
}: FederatedDomain): Promise<Relationship> {
  const { kind } = profile
  const name = parseTrustDomain(trustDomain)
  if (kind === 'https_web') {
    const { rootsFile } = profile
    const roots = rootsFile === undefined ? {} : { roots: await text(rootsFile) }
    return { trustDomain: name, url, profile: { kind, ...roots } }
  }
  const { bootstrapFile } = profile
  const endpointId = parseSpiffeId(profile.endpointSpiffeId)
  const bootstrap = bootstrapFile === undefined ? {} : { bootstrap: await text(bootstrapFile) }
  return { trustDomain: name, url, profile: { kind, endpointId, ...bootstrap } }
}

function endpointOf({
  endpoint,
  replicas = 1,
}: CaAuthority): Pick<NonNullable<CaConfig['federation']>, 'endpoint'> {
  if (!endpoint) return {}
  const { listen, refreshHintSeconds, certificate } = endpoint
  return {
    endpoint: {
      listen: parseAddress(listen),
      shared: replicas > 1,
      ...(refreshHintSeconds !== undefined && { refreshHint: refreshHintSeconds }),
      profile: certificate ? { kind: 'https_web', ...certificate } : { kind: 'https_spiffe' },
    },
  }
}

async function machineRule({
  rootsFile,
  name,
  agentId,
  scope,
}: CaAuthority['machines'][number]): Promise<CertificateRule> {
  return { roots: derFromPem('CERTIFICATE', await text(rootsFile)), name, agentId, scope }
}

async function text(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    throw new Error(`Cannot read ${file}, which the Mesh names: ${(cause as Error).message}`, {
      cause,
    })
  }
}
