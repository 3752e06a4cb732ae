/**
 * Methods that pass; every other token is 400 before policy, in HTTP/1 and HTTP/2 alike (§0.8.15 with
 * "where we differ"): a rule on `GET` must not be evaded by `get`. As Envoy 1.40 has them.
 */
export const KNOWN_METHODS: readonly string[] =
  `ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MOVE
  MSEARCH NOTIFY OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT SEARCH SOURCE
  SUBSCRIBE TRACE UNBIND UNLINK UNLOCK UNSUBSCRIBE`.split(/\s+/)

const METHODS = new Set(KNOWN_METHODS)

/** Whether `method` is one of those that pass; case counts. */
export function isKnownMethod(method: string): boolean {
  return METHODS.has(method)
}
