# docs/use/origins.md
swap "python3 -m venv moto && moto/bin/pip install --quiet 'moto[server]'" 'ln -s "$PYTHON" moto'
run << 'END'
python3 -m venv moto && moto/bin/pip install --quiet 'moto[server]'
moto/bin/moto_server -p 5000 > moto.log 2>&1 & echo $! > moto.pid
export AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_REGION=us-east-1
sleep 5
head -c 50000000 /dev/urandom > big.bin
moto/bin/python -c "
import boto3
s3 = boto3.client('s3', endpoint_url='http://127.0.0.1:5000')
s3.create_bucket(Bucket='models')
s3.upload_file('big.bin', 'models', 'run-7/big.bin')"
END
begin 'get p2p' << 'END'
peer-cli share s3://models/run-7/big.bin --endpoint http://127.0.0.1:5000
END
ticket
mkdir other
(cd other && run <<< 'peer-cli get p2p…')
same other/big.bin big.bin
end

# Without a seeder.
export AWS_ENDPOINT_URL=http://127.0.0.1:5000
begin 'Listening on' <<< 'tracker'
swap https://host/big.bin s3://models/run-7/big.bin
peer-cli publish s3://models/run-7/big.bin --beside -i localhost --open > published
ticket published
mkdir alone
(cd alone && run << 'END'
peer-cli get --origin https://host/big.bin p2p…
END
)
same alone/big.bin big.bin

# Named by the publisher, from where everyone may read it.
moto/bin/python -c "
import boto3
boto3.client('s3').put_object_acl(Bucket='models', Key='run-7/big.bin', ACL='public-read')"
swap cdn.example.org 127.0.0.1
begin 'get p2p' <<< 'peer-cli share -i localhost --open --name-origin http://127.0.0.1:5000/models/run-7/big.bin'
ticket
mkdir named
(cd named && run << 'END'
peer-cli get --origin-fallback --origin-allow cdn.example.org p2p…
END
)
same named/big.bin big.bin
end
end

# In a CI job.
run << 'END'
peer-cli publish s3://models/run-7/ --beside
END
swap tracker.fleet localhost
closed
run > published << 'END'
peer-cli publish s3://models/run-7/ --beside -i tracker.fleet --ca certs/ca.pem
END
ticket published
mkdir fleet
ca=$PWD/certs
(cd fleet && eval "$(swapped <<< "peer-cli get --certs $ca --ca $ca/ca.pem --origin s3://models/run-7/ p2p…")")
same fleet/run-7/big.bin big.bin
