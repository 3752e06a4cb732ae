/**
 * Who is at the other end of a Unix socket, as the kernel tells it. The one module that reaches past
 * Node's public API (`socket._handle.fd`) and calls into libc.
 */
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import koffi from 'koffi'
import { AgentError } from '../error.ts'

/** The peer's process when it connected (unix(7), SO_PEERCRED), not when it is asked about. */
export interface PeerCredentials {
  readonly pid: number
  readonly uid: number
  readonly gid: number
}

/** asm-generic/socket.h; the same on x64 and arm64. */
const SOL_SOCKET = 1
const SO_PEERCRED = 17
/** `struct ucred`: three 32-bit integers. */
const UCRED_BYTES = 12

type GetSockOpt = (
  fd: number,
  level: number,
  name: number,
  value: Uint8Array,
  length: [number],
) => number

let getsockopt: GetSockOpt | undefined

/**
 * The credentials of the process that connected `socket`. Must be called before the socket is handed
 * to a protocol, in the turn in which it was accepted: the sooner, the smaller the window in which
 * its pid could pass to another process.
 *
 * @throws {AgentError} `AGENT_PEER_UNREADABLE` if it is not a connected Unix socket
 */
export function readPeerCredentials(socket: Socket): PeerCredentials {
  getsockopt ??= loadGetSockOpt()
  const fd = fdOf(socket)
  const bytes = new Uint8Array(UCRED_BYTES)
  const length: [number] = [UCRED_BYTES]
  if (fd === undefined || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, bytes, length) !== 0) {
    throw unreadable('it is not a connected Unix socket')
  }
  if (length[0] !== UCRED_BYTES) throw unreadable(`the kernel answered ${length[0]} bytes`)
  const ucred = new Int32Array(bytes.buffer)
  const [pid = 0, uid = -1, gid = -1] = ucred
  // 0: the peer lives in a pid namespace that this one cannot see.
  if (pid <= 0) throw unreadable('its process is outside this pid namespace')
  return { pid, uid: uid >>> 0, gid: gid >>> 0 }
}

function loadGetSockOpt(): GetSockOpt {
  try {
    return koffi
      .load('libc.so.6')
      .func(
        'int getsockopt(int fd, int level, int name, _Out_ uint8_t *value, _Inout_ uint32_t *length)',
      )
  } catch (cause) {
    throw new AgentError(
      'AGENT_PLATFORM_UNSUPPORTED',
      'Cannot read peer credentials: libc.so.6 does not load, expected Linux with glibc',
      { cause },
    )
  }
}

function fdOf(socket: Socket): number | undefined {
  const { _handle } = socket as unknown as { _handle?: { fd?: number } | null }
  const fd = _handle?.fd
  return fd !== undefined && fd >= 0 ? fd : undefined
}

function unreadable(why: string): AgentError {
  return new AgentError('AGENT_PEER_UNREADABLE', `Cannot read peer credentials: ${why}`)
}

/**
 * Self-test, once at start: connects a socket to itself and expects the kernel to name this process.
 * Finds a Node without `_handle.fd`, a libc that is not glibc, a sandbox that forbids the call.
 *
 * @param pid - This process's own.
 * @throws {AgentError} `AGENT_PLATFORM_UNSUPPORTED`
 */
export async function assertPeerCredentials(pid: number): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'redoubt-peer-'))
  const server = createServer().listen(join(directory, 's'))
  try {
    await once(server, 'listening')
    const client = connect(join(directory, 's'))
    const [accepted] = (await once(server, 'connection')) as [Socket]
    const peer = readPeerCredentials(accepted)
    client.destroy()
    accepted.destroy()
    if (peer.pid !== pid) throw unreadable(`the kernel says pid ${peer.pid}, expected ${pid}`)
  } catch (cause) {
    throw new AgentError(
      'AGENT_PLATFORM_UNSUPPORTED',
      `Cannot identify callers on this machine: ${cause instanceof Error ? cause.message : cause}`,
      { cause },
    )
  } finally {
    server.close()
    await rm(directory, { recursive: true, force: true })
  }
}
