/** Where a process listens, as the kernel tells it and not as the process does. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** `127.0.0.1:8080` of TCP, the path of a Unix socket; sorted. */
export function listeningOf(pid: number): readonly string[] {
  const own = new Set(readdirSync(`/proc/${pid}/fd`).map((fd) => inodeOf(`/proc/${pid}/fd/${fd}`)))
  const tcp = ['tcp', 'tcp6'].flatMap((name) => rows(`/proc/${pid}/net/${name}`))
  const unix = rows(`/proc/${pid}/net/unix`)
  return [
    // proc(5): local address, state (0A: LISTEN), inode.
    ...tcp.flatMap(([, at = '', , state, , , , , , inode]) =>
      state === '0A' && own.has(inode) ? [addressOf(at)] : [],
    ),
    // Flags 00010000: it accepts connections.
    ...unix.flatMap(([, , , flags, , , inode, path = '']) =>
      flags === '00010000' && own.has(inode) ? [path] : [],
    ),
  ].sort()
}

function inodeOf(link: string): string | undefined {
  try {
    return /^socket:\[(\d+)\]$/.exec(readlinkSync(link))?.[1]
  } catch {
    return undefined // closed meanwhile
  }
}

function rows(file: string): readonly (readonly string[])[] {
  const [, ...lines] = readFileSync(file, 'utf8').trim().split('\n')
  return lines.map((line) => line.trim().split(/\s+/))
}

/** Of IPv4 as people write it (the kernel writes its bytes the other way round); of IPv6 as it is. */
function addressOf(hex: string): string {
  const [host = '', port = ''] = hex.split(':')
  const bytes = Buffer.from(host, 'hex')
  const name = bytes.length === 4 ? bytes.reverse().join('.') : `[${host}]`
  return `${name}:${Number.parseInt(port, 16)}`
}
