import type { Claims } from '#policy/model/index.ts'
import { RequestHead } from '../http/request-head.ts'
import { type RequestEdits, serializeRequest } from '../http/serialize.ts'

/** The head of a request as a gateway made it, and what its token proves: what routes are picked by. */
export class RoutedHead extends RequestHead {
  claims: Claims | undefined = undefined

  /**
   * Becomes `head` after `edits`, read by the codec that reads callers': whoever decides and routes sees one
   * and the same request. False: what comes out is no request, or too large a one.
   */
  become(head: RequestHead, edits: RequestEdits): boolean {
    const bytes = Buffer.from(serializeRequest(head, edits), 'latin1')
    this.claims = undefined
    return this.read(bytes, 0, bytes.length) === bytes.length
  }
}
