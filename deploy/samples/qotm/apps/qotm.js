/** Quote of the moment: asks the database through its sidecar and says which version it is. */
import { call, TRACE_HEADERS } from './call.js'
import { serve } from './serve.js'

const version = process.env.VERSION ?? 'unknown'

serve(async (request) => {
  const headers = Object.fromEntries(
    TRACE_HEADERS.filter((name) => request.headers[name]).map((name) => [
      name,
      request.headers[name],
    ]),
  )
  const answer = await call('quotes-db', '/quotes/random', headers)
  if (answer.status !== 200) return { status: 502, body: { error: 'no quote', version } }
  return { status: 200, body: { quote: JSON.parse(answer.body).quote, version } }
})
