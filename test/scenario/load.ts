/** Steady load for a story: callers that never retry, in flight whenever time moves. */
import type { Reply } from './app.ts'
import type { StoryTime } from './time.ts'

export interface Load extends AsyncDisposable {
  readonly replies: Reply[]
  /** First attempts that failed as the app saw it: no reply, or a status that was not wanted. */
  readonly lost: string[]
}

/**
 * Starts `callers` that each send one request after every step of time, and hold time up until it is
 * answered: however slow the machine, no request sees more of it than a step or two.
 */
export function startLoad(
  time: Pick<StoryTime, 'gates' | 'during'>,
  callers: number,
  call: () => Promise<Reply>,
): Load {
  const replies: Reply[] = []
  const lost: string[] = []

  const one = async (): Promise<void> => {
    try {
      const reply = await call()
      replies.push(reply)
      if (reply.status !== 200) lost.push(`${reply.status} ${reply.body}`)
    } catch (cause) {
      lost.push(String(cause))
    }
  }
  const underWay = Array.from({ length: callers }, () => one())
  const next = async (caller: number): Promise<void> => {
    await underWay[caller]
    underWay[caller] = one()
  }
  let turn: Promise<unknown> | undefined
  const gate = async (): Promise<void> => {
    turn ??= Promise.all(underWay.map((_, caller) => next(caller))).finally(() => {
      turn = undefined
    })
    await turn
  }
  time.gates.add(gate)
  return {
    replies,
    lost,
    async [Symbol.asyncDispose]() {
      time.gates.delete(gate)
      await time.during(Promise.resolve(turn))
      await time.during(Promise.all(underWay))
    },
  }
}
