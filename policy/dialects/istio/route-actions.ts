/** What a route does with a request instead of forwarding it as it is (istio-semantics §5.5–§5.7). */
import { z } from 'zod'

import { regexFault } from '../grammar.ts'
import { notYet } from '../carried-out.ts'
import { fields, text } from '../schema.ts'
import { httpStatus } from './route-extras.ts'
import { maybePort } from './values.ts'

const MAX_BODY_BYTES = 1024 * 1024

/** What {@link rewriteSchema} accepts. */
export interface RawRewrite {
  readonly uri?: string | undefined
  readonly authority?: string | undefined
}

/** What {@link redirectSchema} accepts. */
export interface RawRedirect extends RawRewrite {
  readonly scheme?: '' | 'http' | 'https' | undefined
  /** 0 is written for the default. */
  readonly redirectCode?: number | undefined
  readonly prefixRewrite?: string | undefined
}

/** What {@link responseSchema} accepts. */
export interface RawResponse {
  readonly status: number
  readonly body?: { string?: string | undefined; bytes?: string | undefined } | undefined
}

const regexRewrite = fields({ match: text(regexFault), rewrite: z.string().min(1) })

export const rewriteSchema: z.ZodType<RawRewrite> = fields(
  {
    uri: z.string().optional(),
    authority: z.string().optional(),
    uriRegexRewrite: notYet(regexRewrite),
  },
  {
    check: ({ uri, authority, uriRegexRewrite }, report) => {
      if (uri && uriRegexRewrite) report([], 'both uri and uriRegexRewrite are set: expected one')
      if (!uri && !authority && !uriRegexRewrite)
        report([], 'none of uri, authority and uriRegexRewrite is set: expected at least one')
    },
  },
)

export const redirectSchema: z.ZodType<RawRedirect> = fields(
  {
    uri: z.string().optional(),
    authority: z.string().optional(),
    scheme: z.enum(['', 'http', 'https']).optional(),
    redirectCode: z.union([z.literal(0), z.int().min(300).max(399)]).optional(),
    port: notYet(maybePort),
    derivePort: notYet(z.enum(['FROM_PROTOCOL_DEFAULT', 'FROM_REQUEST_PORT'])),
    prefixRewrite: notYet(z.string()),
  },
  {
    check: ({ uri, authority, scheme, port, derivePort, prefixRewrite }, report) => {
      if (port !== undefined && derivePort !== undefined)
        report([], 'both port and derivePort are set: expected one at most')
      if (uri && prefixRewrite) report([], 'both uri and prefixRewrite are set: expected one')
      const somewhere = uri || authority || scheme || prefixRewrite
      if (!somewhere && port === undefined && derivePort === undefined) {
        report([], 'none of uri, authority, scheme, port is set: expected at least one')
      }
    },
  },
)

const bodySize = (body: string): string | undefined =>
  Buffer.byteLength(body) > MAX_BODY_BYTES ? 'it is larger than 1 MiB' : undefined

export const responseSchema: z.ZodType<RawResponse> = fields({
  status: httpStatus,
  body: fields(
    { string: text(bodySize).optional(), bytes: notYet(z.base64()) },
    {
      check: ({ string, bytes }, report) => {
        if (string !== undefined && bytes !== undefined)
          report([], 'both string and bytes are set: expected one at most')
      },
    },
  ).optional(),
})
