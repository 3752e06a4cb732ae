import { CaError } from '../error.ts'
import { type AdmitRules, admit, type Caller, type CsrRequest } from './admit.ts'
import { type IssuedSvid, recordSvids, type SvidSigner, signSvid } from './issue-svid.ts'
import type { Ledger } from './ledger.ts'
import type { SigningLimit } from './signing-limit.ts'

/** What issuing needs from the world. */
export interface IssueDeps {
  readonly rules: AdmitRules
  readonly now: () => Temporal.Instant
  /** The issuing CA that signs now. */
  readonly signer: () => SvidSigner
  readonly ledger: Pick<Ledger, 'record'>
  readonly limit: SigningLimit
}

/** Requests answered before other calls get a turn: some 5 ms of work. */
const REQUESTS_A_TURN = 24

/**
 * Answers each request with an SVID or with the reason against it, in order. Nothing is returned
 * before all of it is in the ledger.
 *
 * @throws {CaError} `CA_SIGNER_UNAVAILABLE` if the ledger cannot be written: then nothing is issued
 */
export async function issueBatch(
  deps: IssueDeps,
  caller: Caller,
  requests: readonly CsrRequest[],
): Promise<readonly (IssuedSvid | CaError)[]> {
  const results: (IssuedSvid | CaError)[] = []
  const { granted, retryAfterMs } = deps.limit.take(caller.id, requests.length)
  for (let from = 0; from < granted; from += REQUESTS_A_TURN) {
    if (from > 0) await nextTurn()
    // Together: where signing is a wait for hardware, they wait together.
    const turn = requests.slice(from, Math.min(from + REQUESTS_A_TURN, granted))
    results.push(...(await Promise.all(turn.map((request) => issueOne(deps, caller, request)))))
  }
  while (results.length < requests.length) results.push(rateLimited(caller, retryAfterMs))
  const issued = results.filter((result): result is IssuedSvid => !(result instanceof CaError))
  if (issued.length > 0) await record(deps.ledger, issued, caller)
  return results
}

/** The refusal of what is over the limit of a caller. */
export function rateLimited({ id }: Caller, retryAfterMs: number): CaError {
  return new CaError(
    'CA_RATE_LIMITED',
    `Cannot issue to "${id}" now: it asked for more than its share, expected a pause of ${retryAfterMs} ms`,
    { retryAfterMs },
  )
}

async function issueOne(
  { rules, now, signer }: IssueDeps,
  caller: Caller,
  request: CsrRequest,
): Promise<IssuedSvid | CaError> {
  try {
    return await signSvid(signer(), admit(request, caller, rules), now())
  } catch (cause) {
    if (cause instanceof CaError) return cause
    throw cause
  }
}

async function record(
  ledger: Pick<Ledger, 'record'>,
  issued: readonly IssuedSvid[],
  caller: Caller,
): Promise<void> {
  try {
    await recordSvids(ledger, issued, caller.id)
  } catch (cause) {
    throw new CaError(
      'CA_SIGNER_UNAVAILABLE',
      `Cannot issue: the ledger was not written: ${(cause as Error).message}`,
      { cause },
    )
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}
