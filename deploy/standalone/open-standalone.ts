/** What `up` and `demo` share: state directory, manifests, mesh and admin socket, opened inside out. */
import { createManifestReader, readManifests } from '#policy/index.ts'
import type { Clock } from '#core/clock.ts'
import { createLive, type Live } from '#core/live.ts'
import { listenAdmin } from './admin-server.ts'
import type { Kill } from './child.ts'
import { openDirectorySource } from './directory-source.ts'
import { createEventHub, type EventHub } from './event.ts'
import { openGuard } from './guard.ts'
import { keepLastGood, type Reading } from './last-good.ts'
import type { CaSettings, JoinTokenCall } from './messages.ts'
import { logAnswers } from './log-answers.ts'
import { openStateDir } from './state-dir.ts'
import { type Mesh, openMesh } from './supervise.ts'
import { openFileLog } from './supervisor-log.ts'

export interface StandaloneOptions {
  /** Files and directories; `-` is `stdin`'s text. */
  readonly paths: readonly string[]
  readonly stdin?: string
  /** Absolute. */
  readonly state: string
  /** What the CA is told that no manifest says. */
  readonly ca?: CaSettings
  /** Called once the state directory is ours, before manifests are read. */
  readonly prepare?: () => Promise<void>
  /** Told of every event from the first on. */
  readonly onEvent: Parameters<EventHub['onEvent']>[0]
}

export interface StandaloneDeps {
  readonly clock: Clock
  readonly now: () => Temporal.Instant
  /** Numbers in [0, 1). */
  readonly random: () => number
  readonly kill: Kill
  readonly pid: number
  readonly uid: number
  readonly execPath: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
}

/**
 * Opens a whole standalone mesh; resolves when it is ready.
 *
 * @param signal - Gives up while it starts; a mesh that runs is ended by disposing it.
 * @throws {DeployError} one line that says why there is no mesh
 */
export async function openStandalone(
  { paths, stdin, state: path, ca = {}, prepare, onEvent }: StandaloneOptions,
  deps: StandaloneDeps,
  signal: AbortSignal,
): Promise<Mesh> {
  await using opening = new AsyncDisposableStack()
  const state = opening.use(await openStateDir(path, deps))
  const { log, close } = openFileLog(state.path, deps.pid)
  opening.defer(close)
  await prepare?.()
  const hub = createEventHub(deps.now)
  hub.onEvent(onEvent)
  hub.onEvent(({ event, workload, detail }) => log('info', `mesh-${event}`, { workload, detail }))
  const following = new AbortController()
  opening.defer(() => following.abort())
  const reading = await readSource(paths, stdin, { ...deps, log }, following.signal)
  const guard = opening.use(openGuard(deps.pid))
  const all = { ...deps, log, guard, state, ca, tell: hub.tell }
  const mesh = opening.use(await openMesh(reading, all, signal))
  opening.use(
    await listenAdmin(
      state.sockets,
      {
        '/mesh': () => mesh.readyLine(),
        '/status': () => mesh.status(),
        '/manifests': () => mesh.inForce(),
        '/administrator': (query) =>
          mesh.admitAdministrator({ csr: query.get('csr') ?? '', uid: deps.uid }),
        ...logAnswers(mesh.callCa, deps.uid),
        '/join-token': (query) => addJoinToken(mesh.callCa, query, deps.uid),
        '/rotate-by-force': (query) =>
          mesh.rotateByForce({ step: query.get('step') ?? '', uid: deps.uid }),
        '/certificate': (query) => mesh.certificate(query.get('workload') ?? ''),
      },
      { uid: deps.uid, log },
    ),
  )
  const opened = opening.move()
  return { ...mesh, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}

/** Lets an agent in that is not of this mesh's own. */
async function addJoinToken(
  callCa: Mesh['callCa'],
  query: URLSearchParams,
  uid: number,
): Promise<object> {
  const text = (name: string): string => query.get(name) ?? ''
  const call: JoinTokenCall = {
    tokenSha256: text('tokenSha256'),
    agentId: text('agentId'),
    scope: query.getAll('scope'),
    expiresAt: text('expiresAt'),
    by: `uid:${uid}`,
  }
  await callCa('add-join-token', call)
  return {}
}

async function readSource(
  paths: readonly string[],
  stdin: string | undefined,
  deps: StandaloneDeps & Pick<Parameters<typeof openDirectorySource>[1], 'log'>,
  signal: AbortSignal,
): Promise<Live<Reading>> {
  if (stdin === undefined) {
    return openDirectorySource(paths, { ...deps, read: createManifestReader() }, signal)
  }
  const files = [{ path: '-', text: stdin }]
  return createLive(keepLastGood(files, [], readManifests)).live
}
