/**
 * A request that is put to one external provider after the other, in the order of their names, before
 * its token and all other policies (istio-semantics §1.3, §1.11). What one provider changes the next
 * one's rules see.
 */
import type { AskProvider, Decision, Denied } from '#policy/model/index.ts'
import type { HeldRequest } from '../inbound/held-request.ts'
import { changeRequest } from './change-headers.ts'
import type {
  AskDeps,
  AskedProvider,
  HeaderEdit,
  ProviderAnswer,
  Question,
  Verdict,
} from './question.ts'

type Refusal = Extract<Verdict, { readonly kind: 'deny' }>

/** Whoever has the request. */
export interface ConsultationHost {
  /** What policies say of the request as it is now; `undefined` when there are none yet. */
  readonly decide: (held: HeldRequest) => Decision | undefined
  readonly questionOf: (held: HeldRequest, body: AskedBody) => Question | undefined
  /** More of the body is wanted (true), or no more for now. */
  readonly wantBody: (held: HeldRequest, wanted: boolean) => void
  /** All said yes. `response`: what is to change in the answer. */
  readonly onPassed: (held: HeldRequest, response: readonly HeaderEdit[]) => void
  /** `said`: the provider's own words; `undefined` for a refusal by policy. */
  readonly onRefused: (
    held: HeldRequest,
    decision: Decision | undefined,
    said: Refusal | undefined,
  ) => void
  readonly onBodyTooLarge: (held: HeldRequest) => void
  readonly onAnswer: (provider: string, answer: ProviderAnswer, detail: string) => void
}

/** What goes along of the body; see `HttpQuestion`. */
export interface AskedBody {
  readonly body: Buffer | undefined
  readonly isPartial: boolean | undefined
}

const NO_BODY: AskedBody = { body: undefined, isPartial: undefined }

/** One object a request; `start` once. */
export class Consultation {
  readonly #host: ConsultationHost
  readonly #providers: ReadonlyMap<string, AskedProvider>
  readonly #deps: AskDeps
  readonly #held: HeldRequest
  #response: readonly HeaderEdit[] = []
  /** Providers up to this name have answered. */
  #answered = ''
  /** Who waits for the body. */
  #waiting: { readonly ask: AskProvider; readonly provider: AskedProvider } | undefined
  #giveUp: (() => void) | undefined
  #isOver = false

  constructor(
    held: HeldRequest,
    host: ConsultationHost,
    asking: { readonly providers: ReadonlyMap<string, AskedProvider>; readonly deps: AskDeps },
  ) {
    this.#held = held
    this.#host = host
    this.#providers = asking.providers
    this.#deps = asking.deps
  }

  /** Puts the request to the first provider whose rules match it, if any. */
  start(): void {
    let decision = this.#host.decide(this.#held)
    while (decision?.kind === 'ask' && decision.provider <= this.#answered) {
      decision = decision.proceed()
    }
    if (decision?.kind === 'ask') return this.#prepare(decision)
    const isBad = decision?.kind === 'deny' && decision.action === 'CUSTOM'
    if (decision === undefined || isBad) return this.#refuse(decision, undefined)
    this.#isOver = true
    this.#host.onPassed(this.#held, this.#response)
  }

  /** More of the body has come. */
  push(bytes: Buffer | undefined, end: boolean): void {
    this.#held.push(bytes, end)
    if (this.#waiting !== undefined) this.#askWithBody(this.#waiting.ask, this.#waiting.provider)
  }

  cancel(): void {
    this.#isOver = true
    this.#giveUp?.()
  }

  #prepare(ask: AskProvider): void {
    const provider = this.#providers.get(ask.provider)
    if (provider === undefined) {
      return this.#refuse(denialBy(ask, 'custom-provider-unavailable', ''), undefined)
    }
    if (provider.body === undefined || this.#held.head.upgrade !== '') {
      this.#host.wantBody(this.#held, false)
      this.#ask(ask, provider, NO_BODY)
    } else this.#askWithBody(ask, provider)
  }

  #askWithBody(ask: AskProvider, provider: AskedProvider): void {
    const { body: limits } = provider
    const { bytes, isWhole } = this.#held
    if (limits === undefined) return
    const isTooLong = bytes > limits.maxBytes
    if (isTooLong && !limits.allowPartial) {
      this.#isOver = true
      return this.#host.onBodyTooLarge(this.#held)
    }
    const isEnough = isWhole || (limits.allowPartial && bytes >= limits.maxBytes)
    this.#waiting = isEnough ? undefined : { ask, provider }
    this.#host.wantBody(this.#held, !isEnough)
    if (!isEnough) return
    const body = this.#held.body?.subarray(0, limits.maxBytes)
    const isThere = bytes > 0 || !isWhole
    this.#ask(ask, provider, isThere ? { body, isPartial: !isWhole || isTooLong } : NO_BODY)
  }

  #ask(ask: AskProvider, provider: AskedProvider, body: AskedBody): void {
    const question = this.#host.questionOf(this.#held, body)
    if (question === undefined) return this.#refuse(undefined, undefined)
    this.#giveUp = provider.ask(question, this.#deps, (verdict) => {
      this.#giveUp = undefined
      if (!this.#isOver) this.#settle(ask, provider, verdict)
    })
  }

  #settle(ask: AskProvider, provider: AskedProvider, verdict: Verdict): void {
    switch (verdict.kind) {
      case 'allow': {
        const { changes } = verdict
        if (changesRequest(verdict)) {
          const head = changeRequest(this.#held.head, changes)
          const detail = 'what it would make of the request is none'
          // Never open: it was asked, and what it meant is unknown.
          if (head === undefined)
            return this.#fail(ask, { ...provider, failOpen: false }, { detail })
          this.#held.head = head
        }
        this.#response = [...this.#response, ...changes.response]
        this.#host.onAnswer(ask.provider, 'allow', '')
        this.#answered = ask.provider
        return this.start()
      }
      case 'deny':
        this.#host.onAnswer(ask.provider, 'deny', '')
        return this.#refuse(denialBy(ask, 'denied-by-provider', ''), verdict)
      case 'failed':
        return this.#fail(ask, provider, verdict)
      default:
        return verdict satisfies never
    }
  }

  #fail(
    ask: AskProvider,
    { failOpen, statusOnError }: AskedProvider,
    { detail, status = statusOnError }: { readonly detail: string; readonly status?: number },
  ): void {
    this.#host.onAnswer(ask.provider, failOpen ? 'failed-open' : 'failed', detail)
    if (failOpen) {
      this.#answered = ask.provider
      return this.start()
    }
    const said = { kind: 'deny', status, headers: [], body: '' } as const
    this.#refuse(denialBy(ask, 'provider-failed', detail), said)
  }

  #refuse(decision: Decision | undefined, said: Refusal | undefined): void {
    this.#isOver = true
    this.#host.onRefused(this.#held, decision, said)
  }
}

function changesRequest({ changes }: Extract<Verdict, { readonly kind: 'allow' }>): boolean {
  const { request, setParameters, removeParameters } = changes
  return request.length + setParameters.length + removeParameters.length > 0
}

/** A provider's no, or its silence, as a decision: for logs and `redoubt authz explain --decision`. */
export function denialBy(
  { provider, policy, rule, dryRun, audit }: AskProvider,
  reason: Denied['reason'],
  detail: string,
): Denied {
  const why = detail === '' ? provider : `${provider}: ${detail}`
  const common = { kind: 'deny', action: 'CUSTOM', considered: [] } as const
  return { ...common, reason, policy, rule, detail: why, dryRun, audit }
}
