import { AgentError } from '../error.ts'

/** DER tag of SEQUENCE, with which every certificate begins. */
const SEQUENCE = 0x30

/**
 * Splits concatenated DER certificates, as the Workload API sends chains and bundles, by their outer
 * lengths alone. What each one holds is for the certificate reader.
 *
 * @throws {AgentError} `AGENT_SVID_INVALID` if the lengths do not add up
 */
export function splitDer(bytes: Uint8Array): readonly Uint8Array[] {
  const parts: Uint8Array[] = []
  for (let at = 0; at < bytes.length; ) {
    const end = endOf(bytes, at)
    if (end === undefined || end > bytes.length) {
      throw new AgentError(
        'AGENT_SVID_INVALID',
        `Cannot split certificates: what begins at byte ${at} of ${bytes.length} is not one`,
      )
    }
    parts.push(bytes.subarray(at, end))
    at = end
  }
  return parts
}

/** Where the SEQUENCE at `at` ends; at most four length bytes (X.690 §8.1.3). */
function endOf(bytes: Uint8Array, at: number): number | undefined {
  const short = bytes[at + 1]
  if (bytes[at] !== SEQUENCE || short === undefined) return undefined
  if (short < 0x80) return at + 2 + short
  const count = short - 0x80
  if (count < 1 || count > 4 || at + 2 + count > bytes.length) return undefined
  const length = bytes.subarray(at + 2, at + 2 + count).reduce((sum, byte) => sum * 256 + byte, 0)
  return at + 2 + count + length
}
