/** Results as JUnit's XML, which build servers read. */
import XmlBuilder from 'fast-xml-builder'

/** One test case. */
export interface JunitCase {
  readonly name: string
  /** What is wrong; left out: it passed. An `error` is a case that could not be decided. */
  readonly fault?: {
    readonly kind: 'failure' | 'error'
    readonly message: string
    readonly text: string
  }
}

/** The report of one suite. */
export function junitReport(suite: string, cases: readonly JunitCase[]): string {
  const count = (kind: string): number => cases.filter(({ fault }) => fault?.kind === kind).length
  const numbers = {
    '@tests': cases.length,
    '@failures': count('failure'),
    '@errors': count('error'),
  }
  const testcase = cases.map(({ name, fault }) => ({
    '@classname': suite,
    '@name': name,
    ...(fault && { [fault.kind]: { '@message': fault.message, '#text': fault.text } }),
  }))
  const builder = new XmlBuilder({
    ignoreAttributes: false,
    attributeNamePrefix: '@',
    format: true,
  })
  return builder.build({
    '?xml': { '@version': '1.0', '@encoding': 'UTF-8' },
    testsuites: { ...numbers, testsuite: { '@name': suite, ...numbers, testcase } },
  })
}
