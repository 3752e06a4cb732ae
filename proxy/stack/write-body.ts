import type { Socket } from 'node:net'
import { chunkHead, LAST_CHUNK } from '../http/serialize.ts'

/** Up to here a copy into one string is cheaper than a second element of a vectored write. */
const COPY_BYTES = 8192

/**
 * Writes a head and a piece of body with one call to the socket; either may be empty. `chunked`
 * frames the piece, and with `end` the last chunk follows.
 *
 * @returns false when the socket buffers and 'drain' will follow
 */
export function writeBody(
  socket: Socket,
  head: string,
  body: Buffer | undefined,
  chunked: boolean,
  end: boolean,
): boolean {
  if (body === undefined || body.length === 0) {
    const text = chunked && end ? head + LAST_CHUNK : head
    return text === '' ? true : socket.write(text, 'latin1')
  }
  const before = chunked ? head + chunkHead(body.length) : head
  const after = chunked ? (end ? `\r\n${LAST_CHUNK}` : '\r\n') : ''
  if (body.length <= COPY_BYTES) {
    return socket.write(before + body.toString('latin1') + after, 'latin1')
  }
  if (before === '' && after === '') return socket.write(body)
  socket.cork()
  if (before !== '') socket.write(before, 'latin1')
  const isTaken = socket.write(body)
  const isAfterTaken = after === '' || socket.write(after, 'latin1')
  socket.uncork()
  return isTaken && isAfterTaken
}
