# docs/use/s3.md
run << 'END'
mkdir run-7 && head -c 1000000 /dev/urandom > run-7/model.bin
peer-cli share run-7 --no-code --gateway 8642 &
sleep 2
export AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_REGION=us-east-1
s5cmd --endpoint-url http://127.0.0.1:8642/s3 ls s3://run-7/
s5cmd --endpoint-url http://127.0.0.1:8642/s3 cp s3://run-7/model.bin model.bin
END
share=$!
same model.bin run-7/model.bin
cat > part.py << 'END'
import boto3
from botocore.config import Config
s3 = boto3.client("s3", endpoint_url="http://127.0.0.1:8642/s3", config=Config(signature_version="s3v4", s3={"addressing_style": "path"}))
s3.get_object(Bucket="run-7", Key="model.bin", Range="bytes=0-99")["Body"].read()
END
python3 part.py
kill "$share"
wait "$share" || true

# A bucket that is shared, here and elsewhere. The command of Amazon's is not here: s5cmd stands for it.
bucket
swap 'aws --endpoint-url http://127.0.0.1:8642/s3 s3' 's5cmd --endpoint-url http://127.0.0.1:8642/s3'
begin 'Gateway at' << 'END'
peer-cli share s3://models/run-7/ --gateway 8642 --s3-bucket s3://models/run-7/=run-7
END
run << 'END'
aws --endpoint-url http://127.0.0.1:8642/s3 s3 cp s3://models/run-7/model.bin .
END
same model.bin models/model.bin
end
closed
begin 'Sharing' << 'END'
peer-cli share -i tracker.example --ca ca.pem --open s3://models/run-7/
END
begin 'Gateway at' << 'END'
peer-cli gateway -i tracker.example --ca ca.pem --s3-bucket s3://models/run-7/=run-7
END
rm model.bin
s5cmd --endpoint-url http://127.0.0.1:8642/s3 cp s3://models/run-7/model.bin .
same model.bin models/model.bin
end
end
reopened

# With a token.
noise 24 | base64 > token
begin 'Gateway at' <<< 'peer-cli share run-7 --no-code --gateway 8642 --gateway-token token'
run << 'END'
export AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY="$(cat token)"
END
s5cmd --endpoint-url http://127.0.0.1:8642/s3 cp s3://run-7/model.bin with-token.bin
same with-token.bin run-7/model.bin
