/** Has an identity like everybody, and no business here: tries qotm and the database, and reports the answers. */
import { call } from './call.js'
import { serve } from './serve.js'

const TARGETS = [
  { service: 'qotm', path: '/quote' },
  { service: 'quotes-db', path: '/quotes/random' },
]
const EVERY_MS = 250
const REFUSAL = 'RBAC: access denied'

/** @type {{ requests: number, refused: number, other: Record<string, number> }} */
const seen = { requests: 0, refused: 0, other: {} }
let turn = 0

/** @param {string} what */
const surprise = (what) => {
  seen.other[what] = (seen.other[what] ?? 0) + 1
}

async function tryOne() {
  const { service, path } = TARGETS[turn++ % TARGETS.length]
  try {
    const { status, body } = await call(service, path)
    seen.requests += 1
    if (status === 403 && body === REFUSAL) seen.refused += 1
    else surprise(`${service}: ${status} ${body.slice(0, 40)}`)
  } catch (error) {
    seen.requests += 1
    surprise(`${service}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

const ticking = setInterval(() => void tryOne(), EVERY_MS)

serve(
  async () => ({ status: 200, body: seen }),
  () => clearInterval(ticking),
)
