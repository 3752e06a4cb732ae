import { AgentError } from '../error.ts'

/** Requests in one call at most (ca.proto, `IssueRequest`). */
export const MAX_BATCH = 500

/** Sends requests together; answers in order, an `AgentError` in the place of each that failed. */
export type SendBatch<Request, Answer> = (
  requests: readonly Request[],
  signal: AbortSignal,
) => Promise<readonly (Answer | AgentError)[]>

interface Pending<Request, Answer> {
  readonly request: Request
  readonly resolve: (answer: Answer) => void
  readonly reject: (cause: unknown) => void
}

/**
 * Gathers requests into batches without ever making one wait for a timer: one batch is on its way at
 * a time, and whatever comes due meanwhile is the next. What is asked for in the same turn goes together.
 *
 * @param send - Fails as a whole by throwing: every request of the batch then fails with that cause.
 * @param signal - Ends what is on its way; requests that wait reject with its reason.
 */
export function createBatcher<Request, Answer>(
  send: SendBatch<Request, Answer>,
  signal: AbortSignal,
): (request: Request) => Promise<Answer> {
  let waiting: Pending<Request, Answer>[] = []
  let running = false

  const run = async (): Promise<void> => {
    // One turn, so that what is asked for together is sent together.
    await Promise.resolve()
    while (waiting.length > 0) {
      const batch = waiting.slice(0, MAX_BATCH)
      waiting = waiting.slice(MAX_BATCH)
      await settle(batch, send, signal)
    }
    running = false
  }

  return (request) =>
    new Promise((resolve, reject) => {
      waiting.push({ request, resolve, reject })
      if (running) return
      running = true
      void run()
    })
}

async function settle<Request, Answer>(
  batch: readonly Pending<Request, Answer>[],
  send: SendBatch<Request, Answer>,
  signal: AbortSignal,
): Promise<void> {
  try {
    signal.throwIfAborted()
    const requests = batch.map(({ request }) => request)
    const answers = await send(requests, signal)
    for (const [index, { resolve, reject }] of batch.entries()) {
      const answer = answers[index]
      if (answer instanceof AgentError) reject(answer)
      else if (answer === undefined) reject(tooFew(answers.length, batch.length))
      else resolve(answer)
    }
  } catch (cause) {
    for (const { reject } of batch) reject(cause)
  }
}

function tooFew(got: number, wanted: number): AgentError {
  return new AgentError(
    'AGENT_SVID_INVALID',
    `Cannot read the CA's answer: it has ${got} results, expected ${wanted}`,
  )
}
