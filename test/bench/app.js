/** The app behind every pair: answers each request on a kept connection with 100 bytes. Prints its port. */
import { createServer } from 'node:net'

const body = 'x'.repeat(100)
const answer = Buffer.from(
  `HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  'latin1',
)

const server = createServer({ noDelay: true }, (socket) => {
  let tail = ''
  socket.on('error', () => socket.destroy())
  socket.on('data', (bytes) => {
    const heads = (tail + bytes.latin1Slice()).split('\r\n\r\n')
    tail = heads.pop() ?? ''
    for (let count = heads.length; count > 0; count -= 1) socket.write(answer)
  })
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
process.on('disconnect', () => process.exit(0))
