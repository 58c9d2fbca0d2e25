out=$(mktemp); "$@" test/rpc/_serve.mjs > $out 2>&1 & pid=$!
for i in $(seq 100); do grep -q LISTEN $out && break; sleep 0.1; done
P=$(sed -n 's/LISTEN //p' $out)
echo "== $1 port $P"
curl -s -m 5 -H 'content-type: application/json' --data '{"newRun":{"graph":"echo","threadId":"t1","input":{"text":"hi"}}}' http://127.0.0.1:$P/agentmatic.v1.WorkerService/Execute; echo
curl -s -m 5 --http2-prior-knowledge -H 'content-type: application/json' --data '{"newRun":{"graph":"echo","threadId":"t1","input":{"fail":"NotFound"}}}' http://127.0.0.1:$P/agentmatic.v1.WorkerService/Execute -i; echo
node node_modules/@bufbuild/buf/bin/buf curl --protocol grpc --http2-prior-knowledge --schema proto -d '{"newRun":{"graph":"echo","threadId":"t1","input":{"text":"buf","events":2}}}' http://127.0.0.1:$P/agentmatic.v1.WorkerService/ExecuteStream
node node_modules/@bufbuild/buf/bin/buf curl --protocol grpcweb --schema proto -d '{"newRun":{"graph":"echo","threadId":"t1","input":{"text":"buf","events":1}}}' http://127.0.0.1:$P/agentmatic.v1.WorkerService/ExecuteStream
curl -s -m 5 -o /dev/null -w '%{http_code}\n' http://127.0.0.1:$P/nothing
kill -TERM $pid; wait $pid; cat $out; rm $out
