/**
 * The way in, and the sample's load: asks for quotes at a steady rate and reports what it saw at
 * `/stats`. A first attempt that fails is lost; nothing is asked twice.
 */
import { call } from './call.js'
import { serve } from './serve.js'

const RATE = Number(process.env.RATE ?? 150)
const TICK_MS = 20

/** @type {{ requests: number, lost: number, failures: Record<string, number>, versions: Record<string, number> }} */
const seen = { requests: 0, lost: 0, failures: {}, versions: {} }
let owed = 0
let stopped = false

/** @param {string} what */
const lose = (what) => {
  seen.lost += 1
  seen.failures[what] = (seen.failures[what] ?? 0) + 1
}

async function ask() {
  try {
    const { status, body } = await call('qotm', '/quote')
    seen.requests += 1
    if (status !== 200) return lose(`status ${status}`)
    const { version } = JSON.parse(body)
    seen.versions[version] = (seen.versions[version] ?? 0) + 1
  } catch (error) {
    seen.requests += 1
    lose(error instanceof Error ? error.message : String(error))
  }
}

/** Load begins when the first answer is there: a mesh that is still starting is not under test. */
async function untilAnswered() {
  for (;;) {
    const answer = await call('qotm', '/quote').catch(() => undefined)
    if (stopped || answer?.status === 200) return
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

let answered = false
void untilAnswered().then(() => {
  answered = true
})

const ticking = setInterval(() => {
  if (stopped || !answered) return
  owed += (RATE * TICK_MS) / 1000
  for (; owed >= 1; owed -= 1) void ask()
}, TICK_MS)

serve(
  async (request) => {
    if (request.url === '/stats') return { status: 200, body: seen }
    const answer = await call('qotm', '/quote')
    return { status: answer.status, body: { from: 'qotm', answer: answer.body } }
  },
  () => {
    stopped = true
    clearInterval(ticking)
  },
)
