# docs/use/gateway.md
mkdir sharer client
cd sharer
noise 3000000 > a.bin
begin 'get p2p' << 'END'
peer-cli share a.bin
END
ticket
cd ..
begin 'Gateway at' << 'END'
peer-cli gateway p2p…
END
cd client
run << 'END'
curl -OJ http://127.0.0.1:8642/name/a.bin
END
same a.bin ../sharer/a.bin
run > part << 'END'
curl -r 0-99 http://127.0.0.1:8642/name/a.bin
END
tail -c 100 part | cmp - <(head -c 100 a.bin)
rm a.bin
run << 'END'
aria2c -x4 http://127.0.0.1:8642/name/a.bin
END
same a.bin ../sharer/a.bin
cd ..
end

# With a token.
run << 'END'
head -c 24 /dev/urandom | base64 > token
END
begin 'Gateway at' << 'END'
peer-cli gateway p2p… --gateway 0.0.0.0:8642 --gateway-token token
END
run << 'END'
curl -u ":$(cat token)" -O http://10.0.0.7:8642/name/a.bin
END
same a.bin sharer/a.bin
end
end

# What nobody shares, but lies in a bucket: by its id, and by a ticket.
bucket
swap https://host/big.bin s3://models/run-7/big.bin
closed
peer-cli publish s3://models/run-7/big.bin --beside > published
swap ID= "$(sed -n 's/^content id *//p' published)="
begin 'Gateway at' << 'END'
peer-cli gateway -i tracker.example --ca ca.pem --origin ID=https://host/big.bin
END
curl -sf -o big.bin http://127.0.0.1:8642/name/big.bin
same big.bin models/big.bin
end
reopened
rm -r gateway
begin 'Listening on' <<< 'tracker'
peer-cli publish s3://models/run-7/big.bin --beside -i tracker.example --open > published
ticket published
begin 'Gateway at' << 'END'
peer-cli gateway --origin https://host/big.bin p2p…
END
curl -sf -o again.bin http://127.0.0.1:8642/name/big.bin
same again.bin models/big.bin
end
end

# A hub behind one gateway, and behind two.
hub
closed
begin 'Gateway at' << 'END'
peer-cli gateway -i tracker.example --ca ca.pem --hf-origin https://huggingface.co
END
run << 'END'
HF_ENDPOINT=http://127.0.0.1:8642 hf download org/model
END
same ~/.cache/huggingface/hub/models--org--model/snapshots/*/model.safetensors "$LOGS/model.safetensors"
end
reopened
run << 'END'
tracker &
peer-cli gateway -i localhost --open --hf-origin https://huggingface.co -o one --gateway 8642 &
peer-cli gateway -i localhost --open --hf-origin https://huggingface.co -o two --gateway 8643 &
HF_ENDPOINT=http://127.0.0.1:8642 hf download hf-internal-testing/tiny-random-bert --local-dir a &
HF_ENDPOINT=http://127.0.0.1:8643 hf download hf-internal-testing/tiny-random-bert --local-dir b
END
same b/model.safetensors "$LOGS/model.safetensors"
