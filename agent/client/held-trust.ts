import {
  applyDenyChanges,
  compileDenyList,
  type Denies,
  type DenyList,
  NO_DENIALS,
  type TrustBundle,
} from '#ca/x509/index.ts'
import type { TrustAck, TrustUpdate } from '../proto/gen/trust.ts'
import { denyChangesFromProto } from '../trust/deny-changes.ts'
import { rootsDigest } from './roots-digest.ts'

/** What this process knows of the mesh's trust beside the roots that its SVID came with. */
export interface HeldTrust {
  /** @throws {CaError | AgentError} if it is not in order; what was held is held still */
  readonly take: (update: TrustUpdate, now: Temporal.Instant) => void
  /** There is nobody here to tell what is denied: an agent that is not ours, or older. */
  readonly takeNothing: () => void
  /** Whether it is known what is denied. */
  readonly isKnown: () => boolean
  /** `bundles`, own first, with what is denied and the mesh's generation; the same objects if nothing changed. */
  readonly join: (bundles: readonly TrustBundle[]) => readonly TrustBundle[]
  /** What to acknowledge of `bundles` as they were joined. */
  readonly standing: (bundles: readonly TrustBundle[], name: string) => TrustAck
}

export function createHeldTrust(): HeldTrust {
  let known = false
  let list: DenyList = NO_DENIALS
  let denies: Denies | undefined
  let told: { readonly generation: number; readonly digest: Uint8Array } = {
    generation: 0,
    digest: new Uint8Array(),
  }
  let acknowledged = 0

  const isTold = (own: TrustBundle | undefined): boolean =>
    own !== undefined && rootsDigest(own.roots).equals(told.digest)

  return {
    isKnown: () => known,
    takeNothing() {
      known = true
    },
    take({ generation, rootsSha256: digest, denials }, now) {
      const changes = denyChangesFromProto(denials)
      const next = applyDenyChanges(list, changes, now)
      if (changes.entries.length > 0 || next.entries.length !== list.entries.length) {
        denies = compileDenyList(next)
      }
      list = next
      told = { generation: Number(generation), digest }
      known = true
    },
    join(bundles) {
      const [own] = bundles
      const joined = bundles.map((bundle) => {
        const generation = bundle === own && isTold(own) ? told.generation : bundle.generation
        const isSame = bundle.denies === denies && bundle.generation === generation
        return isSame ? bundle : { ...bundle, denies, generation }
      })
      return joined.every((bundle, at) => bundle === bundles[at]) ? bundles : joined
    },
    standing(bundles, name) {
      if (isTold(bundles[0])) acknowledged = told.generation
      return { generation: BigInt(acknowledged), denials: BigInt(list.generation), name }
    },
  }
}
