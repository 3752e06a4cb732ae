import type { AttestationConfig } from '../config.ts'
import type { TrustDomain } from '../spiffe/index.ts'
import { createCertificateAttestor, type Distrust } from './certificate-proof.ts'
import { type Attestor, createAttestor } from './evidence.ts'
import type { AgentRegistry } from './join-token.ts'
import {
  createKubernetesAttestor,
  type KubernetesAttestor,
  type ReviewToken,
} from './kubernetes.ts'

export interface AttestorsDeps {
  readonly trustDomain: TrustDomain
  readonly agents: AgentRegistry
  readonly reviewToken: ReviewToken | undefined
  readonly now: () => Temporal.Instant
  readonly distrust: Distrust
}

/** Who judges the evidence that a CA was told to believe. */
export interface Attestors {
  readonly attestor: Attestor
  readonly kubernetes: KubernetesAttestor | undefined
}

export function createAttestors(
  { certificates: rules, kubernetes: cluster }: AttestationConfig,
  { trustDomain, agents, reviewToken: review, now, distrust }: AttestorsDeps,
): Attestors {
  const kubernetes = cluster && review && createKubernetesAttestor(cluster, { review, trustDomain })
  const certificates = rules && createCertificateAttestor(rules, trustDomain, distrust)
  return { attestor: createAttestor({ agents, kubernetes, certificates, now }), kubernetes }
}
