/** An opaque connection that is put to providers: yes or no, since there is nothing to change in it. */
import type { AskProvider, Decision } from '#policy/model/index.ts'
import { denialBy } from './consultation.ts'
import type { AskDeps, AskedProvider, ProviderAnswer, Question, Verdict } from './question.ts'

/** What is asked, of whom, and who is told. */
export interface ConnectionAsking {
  readonly question: Question
  readonly providers: ReadonlyMap<string, AskedProvider>
  readonly deps: AskDeps
  readonly onAnswer: (provider: string, answer: ProviderAnswer, detail: string) => void
}

/** Goes on from `ask` until there is a decision. Calls `done` once; what is returned gives up. */
export function consultConnection(
  ask: AskProvider,
  asking: ConnectionAsking,
  done: (decision: Exclude<Decision, AskProvider>) => void,
): () => void {
  const { question, providers, deps, onAnswer } = asking
  const provider = providers.get(ask.provider)
  let giveUp = (): void => {}
  const goOn = (): void => {
    const next = ask.proceed()
    if (next.kind === 'ask') giveUp = consultConnection(next, asking, done)
    else done(next)
  }
  const settle = (verdict: Verdict): void => {
    const { failOpen = false } = provider ?? {}
    if (verdict.kind === 'failed') {
      onAnswer(ask.provider, failOpen ? 'failed-open' : 'failed', verdict.detail)
      return failOpen ? goOn() : done(denialBy(ask, 'provider-failed', verdict.detail))
    }
    onAnswer(ask.provider, verdict.kind, '')
    return verdict.kind === 'allow' ? goOn() : done(denialBy(ask, 'denied-by-provider', ''))
  }
  if (provider === undefined) done(denialBy(ask, 'custom-provider-unavailable', ''))
  else giveUp = provider.ask(question, deps, settle)
  return () => giveUp()
}
