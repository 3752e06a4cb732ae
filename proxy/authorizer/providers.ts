/** What the request path knows of providers: types alone, so that a sidecar without any loads nothing. */
import type { AskProvider, Decision } from '#policy/model/index.ts'
import type { ResponseHead } from '../http/response-head.ts'
import type { HeldRequest } from '../inbound/held-request.ts'
import type { ConnectionAsking } from './consult-connection.ts'
import type { Consultation, ConsultationHost } from './consultation.ts'
import type { AskDeps, HeaderEdit } from './question.ts'

/** The providers of one bundle. */
export interface Providers {
  readonly consult: (held: HeldRequest, host: ConsultationHost, deps: AskDeps) => Consultation
  readonly consultConnection: (
    ask: AskProvider,
    asking: Omit<ConnectionAsking, 'providers'>,
    done: (decision: Exclude<Decision, AskProvider>) => void,
  ) => () => void
  readonly changeResponse: (head: ResponseHead, edits: readonly HeaderEdit[]) => string
  readonly linesOfOwn: (edits: readonly HeaderEdit[]) => string
  readonly headerText: (headers: readonly (readonly [name: string, value: string])[]) => string
}
