/** Callers that come and die, a hundred thousand of them: an agent is afterwards what it was before. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import test from 'ava'
import { DiscoveryRequest } from '#agent/proto/gen/envoy/service/discovery/v3/discovery.ts'
import { openRawCall, rawCall } from '../fakes/raw-grpc.ts'
import { startAgentProcess } from './running-agent.ts'

const CONNECTS = Number(process.env['REDOUBT_SOAK_CONNECTS'] ?? 100_000)
const AT_ONCE = 40

const sds = DiscoveryRequest.encode({
  versionInfo: '',
  node: undefined,
  resourceNames: ['default', 'ROOTCA'],
  typeUrl: 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret',
  responseNonce: '',
  errorDetail: undefined,
}).finish()

/** One of each kind of stream, left open by the caller where it may. */
const CALLS: readonly Buffer[] = [
  rawCall({ path: '/SpiffeWorkloadAPI/FetchX509SVID' }),
  rawCall({ path: '/redoubt.agent.v1.Trust/Follow', ends: false }),
  rawCall({
    path: '/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets',
    message: sds,
    ends: false,
  }),
  rawCall({ path: '/SpiffeWorkloadAPI/FetchX509Bundles' }),
]

/** Field 22 of `/proc/<pid>/stat`. */
function startTimeOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
}

/** One caller: it dies after its first message, or, every fourth, before it. */
async function comeAndDie(socketPath: string, number: number): Promise<void> {
  const { socket, answered } = openRawCall(
    socketPath,
    CALLS[number % CALLS.length] ?? Buffer.alloc(0),
  )
  if (number % 16 < 12) await answered
  else await Promise.race([once(socket, 'connect'), answered])
  socket.destroy()
}

test(`${CONNECTS} callers that die in mid-stream leave no call, no connection and no memory (users §2.1.12)`, async (t) => {
  t.timeout(1_400_000)
  const id = 'spiffe://prod.example/ns/soak/sa/caller'
  const callers = {
    kind: 'process',
    pid: process.pid,
    startTime: startTimeOf(process.pid),
    id,
  } as const
  await using agent = await startAgentProcess({ callers, nodeArguments: ['--expose-gc'] })
  let begun = 0
  const upTo = async (count: number): Promise<void> => {
    const one = async (): Promise<void> => {
      for (;;) {
        const number = begun
        if (number >= count) return
        begun += 1
        await comeAndDie(agent.socketPath, number)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, one))
    for (let tries = 0; tries < 100 && (await agent.read()).connections > 0; tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  const readings = []
  for (let tenth = 1; tenth <= 10; tenth += 1) {
    await upTo(Math.round((CONNECTS * tenth) / 10))
    const reading = await agent.read()
    readings.push(reading)
    const { heapMb, rssMb, calls, connections } = reading
    t.deepEqual([calls, connections], [0, 0], `after ${begun}`)
    t.log(`${begun} connects: heap ${heapMb.toFixed(1)} MB, resident ${rssMb.toFixed(1)} MB`)
  }
  const [, early, ...later] = readings
  const last = later.at(-1)
  if (!early || !last) return t.fail()
  const grownMb = last.heapMb - early.heapMb
  t.true(grownMb < 2, `the heap grew by ${grownMb.toFixed(2)} MB in the last four fifths`)
  t.true(last.rssMb - early.rssMb < 25, `${early.rssMb} MB, then ${last.rssMb} MB resident`)
  t.is(last.identities, 1, 'one identity, however many asked for it')
})
