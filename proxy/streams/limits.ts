/** How much one HTTP/2 connection may ask of a sidecar. Beyond, its stream or the connection ends. */
import type { ClientSessionOptions, ServerSessionOptions } from 'node:http2'
import { MAX_FIELDS } from '../http/field-block.ts'
import { MAX_HEAD_BYTES } from '../http/request-head.ts'

/** Streams that a peer may have open at once; one more is refused before anything is read of it. */
export const MAX_STREAMS = 100

/** Pseudo-fields come on top. */
const MAX_PAIRS = MAX_FIELDS + 4

/** A caller's side. */
export const SERVER_LIMITS: ServerSessionOptions & {
  readonly streamResetBurst: number
  readonly streamResetRate: number
} = {
  settings: {
    enablePush: false,
    maxConcurrentStreams: MAX_STREAMS,
    maxHeaderListSize: MAX_HEAD_BYTES,
  },
  maxHeaderListPairs: MAX_PAIRS,
  maxOutstandingPings: 10,
  maxSettings: 16,
  /** Megabytes of frames, tables and what waits to be written. */
  maxSessionMemory: 10,
  maxSessionInvalidFrames: 100,
  maxSessionRejectedStreams: 100,
  /** Streams that a caller may reset at once, and then each second (CVE-2023-44487). */
  streamResetBurst: 400,
  streamResetRate: 100,
  /** Each line counts by itself: the codec says what may not stand twice. */
  strictSingleValueFields: false,
}

/** The app's side. */
export const CLIENT_LIMITS: ClientSessionOptions & { readonly strictSingleValueFields: false } = {
  settings: { enablePush: false, maxHeaderListSize: MAX_HEAD_BYTES },
  maxHeaderListPairs: MAX_PAIRS,
  maxSessionMemory: 10,
  strictSingleValueFields: false,
}
