/** Path templates of AuthorizationPolicy (istio-semantics §1.6, §0.8.5). */

const OPERATORS = ['{*}', '{**}']
const LITERAL = /^[a-zA-Z0-9\-._~%!$&'()+,;:@=]+$/

/** What is wrong with an entry of `paths` or `notPaths`, template or not. */
export function pathFault(path: string): string | undefined {
  if (!/[{}]/.test(path)) return undefined
  const wrong = (why: string): string => `found ${JSON.stringify(path)}: ${why}`
  const segments = path.replace(/^\/+|\/+$/g, '').split('/')
  const template = segments.some((segment) => OPERATORS.includes(segment)) || /\{\*\*?\}/.test(path)

  let ended = false
  for (const segment of segments) {
    if (OPERATORS.includes(segment)) {
      if (ended) return wrong('{**} must be the last operator')
      ended = segment === '{**}'
    } else if (/[{}]/.test(segment)) {
      return wrong('{ and } may only stand as {*} or {**}, each a whole segment')
    } else if (template && !LITERAL.test(segment)) {
      return wrong(`beside an operator, the segment ${JSON.stringify(segment)} is not possible`)
    }
  }
  return template ? slashFault(path, wrong) : undefined
}

/** Shapes that Istio lets through and Envoy then refuses, taking the whole listener with them. */
function slashFault(path: string, wrong: (why: string) => string): string | undefined {
  if (!path.startsWith('/')) return wrong('a template must begin with "/"')
  if (path.startsWith('//')) return wrong('a template must begin with one "/"')
  if (path.endsWith('//')) return wrong('a template may end with one "/" only')
  return undefined
}
