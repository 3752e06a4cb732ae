/** The ways in which a machine proves what it is, behind one interface. */
import { CaError } from '../error.ts'
import type { CertificateAttestor, CertificateProof } from './certificate-proof.ts'
import type { AgentRegistry, KnownAgent } from './join-token.ts'
import type { KubernetesAttestor } from './kubernetes.ts'

/** What a caller shows who has no certificate of ours, or none that is good. */
export type Evidence =
  /** A one-time token that an administrator made. */
  | { readonly kind: 'join-token'; readonly token: string }
  /** A token of a service account, for whom a Kubernetes cluster vouches. */
  | { readonly kind: 'kubernetes'; readonly token: string }
  /** A certificate of somebody else's, and a signature by its key over a challenge of ours. */
  | { readonly kind: 'certificate'; readonly proof: CertificateProof }

/** Judges evidence. */
export interface Attestor {
  /**
   * Who the caller is. A join token is used up by this.
   *
   * @param csrDer - The request that the evidence comes with; a signed challenge covers it.
   * @throws {CaError} `CA_TOKEN_REFUSED`, `CA_EVIDENCE_REFUSED`, `CA_CREDENTIAL_UNSUPPORTED`, `CA_REVIEW_UNAVAILABLE`
   */
  readonly attest: (evidence: Evidence, csrDer: Uint8Array) => Promise<KnownAgent>
  /** What a machine with a certificate has to sign. @throws {CaError} `CA_CREDENTIAL_UNSUPPORTED` */
  readonly challenge: () => Uint8Array
}

export interface AttestorDeps {
  readonly agents: AgentRegistry
  /** Left out: this CA has no cluster that it believes. */
  readonly kubernetes: KubernetesAttestor | undefined
  /** Left out: this CA believes no certificates but its own. */
  readonly certificates: CertificateAttestor | undefined
  readonly now: () => Temporal.Instant
}

export function createAttestor(deps: AttestorDeps): Attestor {
  const { agents, kubernetes, certificates, now } = deps
  return {
    async attest(evidence, csrDer) {
      switch (evidence.kind) {
        case 'join-token':
          return agents.consume(evidence.token, now())
        case 'kubernetes': {
          if (!kubernetes) throw unsupported('a Kubernetes token')
          const { agent, by } = await kubernetes.attest(evidence.token)
          await agents.admit(agent, by)
          return agent
        }
        case 'certificate': {
          if (!certificates) throw unsupported('a certificate of another authority')
          const { agent, by } = certificates.attest(evidence.proof, csrDer, now())
          await agents.admit(agent, by)
          return agent
        }
        default:
          return evidence satisfies never
      }
    },
    challenge() {
      if (!certificates) throw unsupported('a certificate of another authority')
      return certificates.challenge(now())
    },
  }
}

function unsupported(what: string): CaError {
  return new CaError(
    'CA_CREDENTIAL_UNSUPPORTED',
    `Cannot attest the agent: it showed ${what}, expected a join token: this CA was not told whom to believe`,
  )
}
