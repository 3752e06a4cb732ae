/** What an agent says of renewals that are late, long before anything has run out. */
import test from 'ava'
import type { NodeState } from '../../agent/attest/node.ts'
import { healthOf } from '../../agent/health.ts'
import type { HeldSvid } from '../../agent/svid/rotation.ts'
import { parseSpiffeId } from '#ca/spiffe/index.ts'

const issuedAt = Temporal.Instant.from('2026-03-01T00:00:00Z')
const life = { issuedAt, notAfter: issuedAt.add({ hours: 1 }) }
const id = parseSpiffeId('spiffe://prod.example/ns/pay/sa/api')
/** As much of a held SVID, and of an attested node, as health looks at. */
const held = { svid: { id, life } } as HeldSvid
const node = { kind: 'attested', svid: { id, life } } as NodeState

test('users §1.1.7: a renewal that has not come after 60 % of a life is an alarm, not its end', (t) => {
  const at = (minutes: number) =>
    healthOf(
      { node, held: [held], waiting: [], skew: undefined, proof: undefined },
      issuedAt.add({ minutes }),
    )
  t.deepEqual(at(36), { ready: true, reasons: [] })
  const late = at(37)
  t.false(late.ready)
  t.regex(late.reasons.join('\n'), /this node's own certificate has not been renewed/)
  t.regex(
    late.reasons.join('\n'),
    /"spiffe:\/\/prod.example\/ns\/pay\/sa\/api" has not been renewed/,
  )
})
