/** What the node asks the CA for in the name of its workloads: in batches, and judged before anyone has it. */
import { AgentError } from './error.ts'
import type { AuthorityConnection } from './authority/connection.ts'
import type { Node, NodeState } from './attest/node.ts'
import type { Live } from '#core/live.ts'
import { acceptToken, type IssuedToken, type TokenRequest } from './jwt/issued-token.ts'
import { createBatcher } from './svid/batch.ts'
import { createSharedIssuers } from './svid/shared-issuers.ts'
import { acceptSvid, type IssuedSvid, type SvidRequest } from './svid/issued-svid.ts'
import type { ClockSkew } from './clock-skew.ts'
import type { Trust } from './trust/trust.ts'

export interface IssuersDeps {
  /** Asked at each call: the two need each other. */
  readonly node: () => Node
  readonly trust: Pick<Trust, 'current'>
  readonly skew: Pick<ClockSkew, 'note'>
  readonly now: () => Temporal.Instant
}

/** Each waits until the node is attested. */
export interface Issuers {
  readonly svid: (request: SvidRequest) => Promise<IssuedSvid>
  readonly token: (request: TokenRequest) => Promise<IssuedToken>
}

/** @param signal - Ends what is on its way. */
export function createIssuers(
  { node, trust, skew, now }: IssuersDeps,
  signal: AbortSignal,
): Issuers {
  const share = createSharedIssuers()
  const svid = createBatcher<SvidRequest, IssuedSvid>(async (requests, until) => {
    let asked = now()
    const issue = (connection: AuthorityConnection) => {
      asked = now()
      return connection.issue(requests, until)
    }
    const answers = await ask(node(), issue, until)
    const judge = { bundles: [trust.current()], now: now(), share }
    const signed = answers.flatMap((answer) =>
      answer instanceof AgentError ? [] : answer.issuedAt,
    )
    if (signed[0]) skew.note(signed[0], asked, judge.now)
    return requests.map((request, index) => {
      const answer = answers[index] ?? { chain: [], issuedAt: judge.now }
      return judged(answer, (good) => acceptSvid(request, good, judge))
    })
  }, signal)

  const token = createBatcher<TokenRequest, IssuedToken>(async (requests, until) => {
    const asked = (connection: AuthorityConnection) => connection.issueTokens(requests, until)
    const answers = await ask(node(), asked, until)
    const judge = { bundle: trust.current(), now: now() }
    return requests.map((request, index) => {
      const answer = answers[index] ?? { token: '', issuedAt: judge.now }
      return judged(answer, (good) => acceptToken(request, good, judge))
    })
  }, signal)
  return { svid, token }
}

async function ask<Answer>(
  node: Node,
  question: (connection: AuthorityConnection) => Promise<Answer>,
  until: AbortSignal,
): Promise<Answer> {
  await attested(node.state, until)
  // Read in the turn of the call: a channel that has been replaced meanwhile takes no more calls.
  return question(connectionOf(node)).catch((cause: unknown) => {
    if (cause instanceof AgentError && cause.code === 'AGENT_NOT_ATTESTED') {
      node.disown(cause.message)
    }
    throw cause
  })
}

/** What `accept` makes of an answer; a refusal and an answer that is not believed stay errors of one request. */
function judged<Answer, Accepted>(
  answer: Answer | AgentError,
  accept: (answer: Answer) => Accepted,
): Accepted | AgentError {
  if (answer instanceof AgentError) return answer
  try {
    return accept(answer)
  } catch (cause) {
    if (cause instanceof AgentError) return cause
    throw cause
  }
}

/** Resolves once the node is attested. @throws {AgentError} `AGENT_NOT_ATTESTED` if it closes before */
async function attested(state: Live<NodeState>, signal: AbortSignal): Promise<void> {
  for await (const { kind } of state.changes(signal)) {
    if (kind === 'attested') return
  }
  throw new AgentError('AGENT_NOT_ATTESTED', 'Cannot get SVIDs: the agent is closing')
}

function connectionOf({ state }: Node): AuthorityConnection {
  const { current } = state
  if (current.kind === 'attested') return current.connection
  throw new AgentError('AGENT_CA_UNAVAILABLE', `Cannot get SVIDs: ${current.reason}`)
}
