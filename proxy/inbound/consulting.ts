/** The inbound side of a conversation with external providers. */
import type { ConsultationHost } from '../authorizer/consultation.ts'
import type { RequestHead } from '../http/request-head.ts'
import type { Caller } from './caller.ts'
import type { Peer } from './peer.ts'
import type { RequestDecider } from './request-decider.ts'

/** Whose requests providers are asked about, and who hears what they said. */
export interface Consulting
  extends Pick<ConsultationHost, 'onPassed' | 'onRefused' | 'onBodyTooLarge' | 'onAnswer'> {
  readonly decider: RequestDecider
  readonly peer: Peer
  readonly caller: Caller
  readonly requestIdOf: (head: RequestHead) => string
}

export function consultationHost(consulting: Consulting): ConsultationHost {
  const { decider, peer, caller, requestIdOf } = consulting
  const { onPassed, onRefused, onBodyTooLarge, onAnswer } = consulting
  return {
    decide: ({ head }) => decider.decideAgain(head),
    questionOf: ({ head }, body) => ({
      ...peer,
      http: {
        head,
        protocol: caller.protocol,
        path: decider.path,
        target: withQueryOf(head.target, decider.path),
        requestId: requestIdOf(head),
        forwardedCert: peer.forwardedCert,
        ...body,
      },
    }),
    wantBody: (held, wanted) => {
      if (held.isWhole) return
      if (!wanted) return caller.pause()
      if (held.head.expectsContinue && held.bytes === 0) caller.askForBody()
      caller.resume()
    },
    onPassed(held, response) {
      if (!held.isWhole) caller.resume()
      onPassed(held, response)
    },
    onRefused,
    onBodyTooLarge,
    onAnswer,
  }
}

/** The path that policies see, with the query of `target`. */
function withQueryOf(target: string, path: string): string {
  const at = target.indexOf('?')
  return at < 0 ? path : path + target.slice(at)
}
