/** What needs a PKCS#11 module: not part of `npm test`, run by `npm run test:pkcs11`. */
export default {
  extensions: ['ts'],
  files: ['test/pkcs11/**/*.test.ts'],
  nodeArguments: ['--disable-warning=ExperimentalWarning'],
  workerThreads: false,
  concurrency: 1,
  timeout: '120s',
}
