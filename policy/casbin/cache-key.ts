import { claimAt } from './claim.ts'
import type { Attempt, Reads } from './constraint.ts'
import { headerLines } from './match.ts'

/** Attributes of an attempt, as one text. */
export type CacheKey = (attempt: Attempt) => string

/**
 * Compiles what identifies an attempt to lines that read `reads`: two attempts with the same key get
 * the same decision. Each value goes with its length, so that no value can pose as two.
 */
export function compileCacheKey(reads: readonly Reads[]): CacheKey {
  const parts = new Map(reads.map((read) => [JSON.stringify(read), partOf(read)]))
  const keys = [...parts.values()]
  return (attempt) => {
    let key = ''
    for (const part of keys) key += part(attempt)
    return key
  }
}

function partOf(read: Reads): CacheKey {
  switch (read.of) {
    case 'connection':
      return () => ''
    case 'request':
      return requestPart(read.name)
    case 'header':
      return ({ http }) => {
        const lines = http === undefined ? [] : headerLines(http, read.name)
        return `${lines.length}[${lines.map(measured).join('')}`
      }
    case 'claim':
      return ({ http }) => measured(JSON.stringify(claimAt(http?.claims, read.path)))
    default:
      return read satisfies never
  }
}

function requestPart(name: 'method' | 'path' | 'host' | 'remoteIp'): CacheKey {
  if (name === 'remoteIp') {
    return ({ connection, http }) =>
      measured(http === undefined ? connection.sourceIp : http.remoteIp)
  }
  return ({ http }) => measured(http?.[name])
}

function measured(value: string | undefined): string {
  return value === undefined ? '-' : `${value.length}:${value}`
}
